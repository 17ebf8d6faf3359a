#!/usr/bin/env bash
# Feeds every parser of strangers' bytes with what breaks parsers (libFuzzer with
# the address sanitizer), beginning with the examples that are kept.
#   fuzz.sh                all targets, FUZZ_SECONDS (60) each
#   fuzz.sh signaling mls  these
#   fuzz.sh --list         their names
#   fuzz.sh --check        only compiles them, without instrumentation
#   fuzz.sh --keep [NAME…] after the run, puts the smallest set of inputs that
#                          reaches as much into fuzz/corpus, to be committed
# What breaks a target is left in the target directory under fuzz/NAME/; run it
# again by giving it to the program: …/fuzz-bin/release/NAME FILE.
. "$(dirname "$0")/env.sh"

SECONDS_EACH="${FUZZ_SECONDS:-60}"
# Kept inputs: small ones are read and mutated faster, and stand in the history.
KEPT_BYTES_MAX=2048
KEPT_FILES_MAX=16
INPUT_BYTES_MAX=8192
FOUND="$CARGO_TARGET_DIR/fuzz"
mapfile -t ALL < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)

keep=""
names=()
for argument in "$@"; do
  case "$argument" in
    --list)
      printf '%s\n' "${ALL[@]}"
      exit 0
      ;;
    --check)
      exec cargo check --locked --quiet --manifest-path fuzz/Cargo.toml
      ;;
    --keep) keep=yes ;;
    *)
      [ -f "fuzz/targets/$argument.rs" ] || die "fuzz.sh: there is no target $argument (fuzz.sh --list)"
      names+=("$argument")
      ;;
  esac
done
[ "${#names[@]}" -gt 0 ] || names=("${ALL[@]}")

scripts/need.sh build
have c++ || die "a C++ compiler is needed for libFuzzer (build-essential)"

say "Building ${#names[@]} fuzz targets"
host="$(rustc -vV | sed -n 's/^host: //p')"
# Coverage and sanitizer are options of nightly; the stable compiler has them too,
# for those who ask like this. Naming the host keeps build scripts without them.
(
  export RUSTC_BOOTSTRAP=1
  export RUSTFLAGS="-Zsanitizer=address -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares"
  bins=()
  for name in "${names[@]}"; do bins+=(--bin "$name"); done
  cargo build --locked --quiet --release --target "$host" --manifest-path fuzz/Cargo.toml \
    --target-dir "$CARGO_TARGET_DIR/fuzz-bin" "${bins[@]}"
)
programs="$CARGO_TARGET_DIR/fuzz-bin/$host/release"

# The smallest set that reaches as much as all inputs together, cheapest first.
keep_corpus() {
  local name="$1" kept="$FOUND/$1/kept"
  rm -rf "$kept" && mkdir -p "$kept"
  "$programs/$name" -merge=1 -max_len="$KEPT_BYTES_MAX" \
    "$kept" "fuzz/corpus/$name" "$FOUND/$name/inputs" >/dev/null 2>&1
  rm -rf "fuzz/corpus/$name" && mkdir -p "fuzz/corpus/$name"
  find "$kept" -type f -size "-${KEPT_BYTES_MAX}c" -printf '%s %p\n' | sort -n |
    awk -v most="$KEPT_FILES_MAX" '{ line[NR] = $2 } END {
      # Evenly over all sizes: the smallest alone reach little.
      for (n = 0; n < most && n < NR; n++)
        print line[NR <= most ? n + 1 : int(n * (NR - 1) / (most - 1)) + 1]
    }' | xargs -r cp -t "fuzz/corpus/$name"
}

for name in "${names[@]}"; do
  mkdir -p "$FOUND/$name/inputs" "fuzz/corpus/$name"
  say "$name, $SECONDS_EACH s"
  log="$FOUND/$name/log"
  if ! "$programs/$name" -max_total_time="$SECONDS_EACH" -max_len="$INPUT_BYTES_MAX" \
    -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$FOUND/$name/" "$FOUND/$name/inputs" "fuzz/corpus/$name" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "$name broke: the input is in $FOUND/$name/"
  fi
  awk '/^stat::number_of_executed_units/ { runs = $2 } /^#[0-9]+[ \t]+DONE/ { reached = $4 }
    END { printf "  %s executions, %s places reached\n", runs, reached }' "$log"
  if [ -n "$keep" ]; then keep_corpus "$name"; fi
done
