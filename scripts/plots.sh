#!/usr/bin/env bash
# Draws figures that were recorded by FIGURES=FILE make bench ARGS=forward as
# SVG: plots.sh FILE FOLDER
. "$(dirname "$0")/env.sh"

scripts/web.sh install
exec web/node_modules/.bin/node web/journeys/src/plots.ts "$@"
