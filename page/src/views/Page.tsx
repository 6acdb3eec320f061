/** The frame of all views. */
import { announcement } from "../parts/announce";
import { ConnectionNotice } from "../parts/ConnectionNotice";
import { KeyDialog } from "../parts/KeyDialog";
import { isDark, switchTheme } from "../parts/theme";
import { route } from "../parts/route";
import { Compare } from "./Compare";
import { Fits } from "./Fits";
import { FitView } from "./FitView";
import { Gallery } from "./Gallery";
import { Workbench } from "./Workbench";

export function Page() {
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to content
      </a>
      <Header />
      <ConnectionNotice />
      <main id="main" tabIndex={-1}>
        <View />
      </main>
      <p class="only-read" role="status">
        {announcement.value}
      </p>
      <KeyDialog />
    </>
  );
}

function focusMain(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

const LINKS: [string, string][] = [
  ["", "Examples"],
  ["model", "Workbench"],
  ["fits", "Fits"],
];

function Header() {
  const { view } = route.value;
  return (
    <header class="site">
      <a class="brand" href="#/">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect class="tile" width="32" height="32" rx="7" />
          <path class="curve" d="M5 22C9 22 10 8 15 8s5 12 12 12" />
          <path class="points" d="M7 19h0M13 10.5h0M20 14h0M26 21.5h0" />
        </svg>
        odefit
      </a>
      <nav aria-label="Views">
        {LINKS.map(([path, label]) => (
          <a key={path} href={`#/${path}`} aria-current={view === path ? "page" : undefined}>
            {label}
          </a>
        ))}
        <a href="/docs">API</a>
      </nav>
      <button class="quiet theme" type="button" onClick={switchTheme}>
        {isDark.value ? "Light" : "Dark"}
        <span class="only-read"> theme</span>
      </button>
    </header>
  );
}

function View() {
  const { view, argument } = route.value;
  if (view === "fits" && argument) return <FitView key={argument} id={argument} />;
  if (view === "fits") return <Fits />;
  if (view === "compare") return <Compare key={argument} ids={argument.split(",").filter(Boolean)} />;
  if (view === "model") return <Workbench source={argument} />;
  return <Gallery />;
}
