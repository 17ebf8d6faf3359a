// Unit tests of every package run in Node, without a browser: what needs one
// is proved by journeys/.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["packages/*/{src,test}/**/*.test.ts", "apps/*/{src,test}/**/*.test.ts"],
    environment: "node",
    // For one that hangs. How long the simulations take is the machine's affair.
    testTimeout: 60_000,
  },
});
