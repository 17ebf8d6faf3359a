// Unit tests of every package run in Node, without a browser: what needs one
// is proved by journeys/.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["packages/*/{src,test}/**/*.test.ts", "apps/*/{src,test}/**/*.test.ts"],
    environment: "node",
  },
});
