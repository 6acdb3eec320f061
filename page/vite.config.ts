import { defineConfig, type Plugin } from "vite";
import { gallery } from "./gallery.ts";

/** Drop KaTeX's fonts in formats that only old browsers need. */
function modernFonts(): Plugin {
  return {
    name: "modern-fonts",
    enforce: "pre",
    transform(code, id) {
      if (!id.endsWith("katex.min.css")) return null;
      return code.replace(/,url\([^)]+\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, "");
    },
  };
}

const service = process.env.ODEFIT_URL ?? "http://127.0.0.1:8000";
const routes = ["/fits", "/systems", "/simulations", "/health", "/docs", "/openapi.json"];

export default defineConfig({
  plugins: [gallery(import.meta.dirname), modernFonts()],
  build: {
    outDir: "../service/page/built",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows fonts from files only
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: Object.fromEntries(routes.map((route) => [route, service])), fs: { allow: [".."] } },
});
