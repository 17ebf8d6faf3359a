// How the web client is built and served while it is being worked on. In
// production the server itself hands out `dist` (hashed files under /assets/).
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const server = process.env["DARKTOWER_HTTP"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  server: {
    // Loopback by number: browsers differ in what they take `localhost` for.
    host: "127.0.0.1",
    proxy: {
      "/api": server,
      "/ws": { target: server, ws: true },
      "/media": { target: server, ws: true },
    },
  },
  worker: { format: "es" },
  build: {
    target: "es2023",
    // The server's Content-Security-Policy allows no data: URLs for scripts
    // and fonts, and no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});
