/** Pictures that show how far to trust a fit. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { FitRequest, FitResult } from "../../api/types";
import { colourOf, COLOURS, DATA_COLOUR } from "../../plots/colours";
import { Panel, type Layer } from "../../plots/Panel";
import { Space } from "../../plots/Space";
import { stageWords } from "../../fits/words";
import type { Curve } from "../../plots/timePanels";
import { seriesOf } from "../../request/series";

function Picture({ title, note, children }: { title: string; note?: string; children: ComponentChildren }) {
  return (
    <section class="card" aria-label={title}>
      <h2>{title}</h2>
      {note && <p class="note">{note}</p>}
      {children}
    </section>
  );
}

export function LossCurve({ losses }: { losses: [number, number][] }) {
  if (losses.length < 2) return null;
  const y = losses.map(([, loss]) => loss);
  return (
    <Picture title="Loss">
      <Panel
        title="Loss after each step"
        layers={[{ kind: "line", x: losses.map(([step]) => step), y, colour: COLOURS[1]!, thin: true }]}
        x={{ label: "step", integer: true }}
        y={{ label: "loss", log: y.every((loss) => loss > 0) }}
      />
    </Picture>
  );
}

export function Residuals({ result }: { result: FitResult }) {
  const names = [...new Set(result.trajectories.flatMap((one) => Object.keys(one.residuals)))].filter((name) =>
    result.trajectories.some((one) => one.residuals[name]?.some((value) => value !== null)),
  );
  const several = result.trajectories.length > 1;
  return (
    <Picture title="Residuals" note="Measurement minus model. A pattern means that the model misses something.">
      {names.slice(0, 6).map((name, i) => (
        <Panel
          key={name}
          title={`Residuals of ${name}`}
          height={150}
          layers={[
            { kind: "level", y: 0 },
            ...result.trajectories.map(
              (one, position): Layer => ({
                kind: "dots",
                x: one.times,
                y: one.residuals[name] ?? [],
                colour: several ? colourOf(position, result.trajectories.length) : DATA_COLOUR,
              }),
            ),
          ]}
          x={{ label: "time", hidden: i < Math.min(6, names.length) - 1 }}
          y={{ label: name }}
        />
      ))}
    </Picture>
  );
}

export function PhasePlane({ request, curves }: { request: FitRequest; curves: Curve[] }) {
  const names = Object.keys(curves[0]?.dense.states ?? {});
  const chosen = useSignal<string[]>([]);
  if (names.length < 2) return null;
  const axes = chosen.value.length ? chosen.value : names.slice(0, names.length >= 3 ? 3 : 2);
  const colour = (position: number) => colourOf(position, Math.max(1, seriesOf(request).length));
  const lines = curves.map((curve) => ({
    columns: axes.map((name) => curve.dense.states[name] ?? []),
    colour: curve.colour ?? colour(curve.series),
    dashed: curve.dashed,
  }));
  const dots = seriesOf(request).map((series, position) => ({
    columns: axes.map((name) => series.values?.[name] ?? []),
    colour: seriesOf(request).length > 1 ? colour(position) : DATA_COLOUR,
  }));
  const [first = "", second = ""] = axes;
  return (
    <Picture title={axes.length === 3 ? "Phase space" : "Phase plane"}>
      {names.length > 2 && (
        <AxisChoice names={names} axes={axes} choose={(next) => (chosen.value = next)} />
      )}
      {axes.length === 3 ? (
        <Space names={axes} lines={lines} dots={dots} />
      ) : (
        <Panel
          title={`${second} against ${first}`}
          square
          layers={[
            ...dots.map((one): Layer => ({ kind: "dots", x: one.columns[0]!, y: one.columns[1]!, colour: one.colour })),
            ...lines.map((one): Layer => ({ kind: "line", x: one.columns[0]!, y: one.columns[1]!, colour: one.colour, dashed: one.dashed })),
          ]}
          x={{ label: first }}
          y={{ label: second }}
        />
      )}
    </Picture>
  );
}

function AxisChoice({ names, axes, choose }: { names: string[]; axes: string[]; choose: (axes: string[]) => void }) {
  return (
    <p class="choices">
      {["x", "y", "z"].map((axis, i) => (
        <label key={axis}>
          {axis}
          <select
            value={axes[i] ?? ""}
            onChange={(event) => {
              const name = event.currentTarget.value;
              const next = [...axes.slice(0, i), ...(name ? [name] : []), ...(name ? axes.slice(i + 1) : [])];
              choose(next);
            }}
          >
            {i === 2 && <option value="">none</option>}
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      ))}
    </p>
  );
}

export function Profiles({ profiles, result }: { profiles: NonNullable<FitResult["profiles"]>; result: FitResult }) {
  return (
    <>
      {Object.entries(profiles).slice(0, 24).map(([name, profile]) => (
        <Picture key={name} title={`Profile of ${name}`} note="The lowest loss for each value. Below the dotted line: the 95 % interval. Dashed: the parabola of the standard error.">
          <Panel
            title={`Profile likelihood of ${name}`}
            layers={[
              { kind: "level", y: profile.limit, label: "95 %" },
              ...(profile.parabola
                ? [{ kind: "line", x: profile.values, y: profile.parabola, colour: COLOURS[4]!, dashed: true, thin: true } as Layer]
                : []),
              { kind: "line", x: profile.values, y: profile.losses, colour: COLOURS[0]! },
              { kind: "dots", x: profile.values, y: profile.losses, colour: COLOURS[0]! },
            ]}
            x={{ label: name }}
            y={{ label: "loss", domain: profileDomain(profile, result.loss) }}
          />
        </Picture>
      ))}
    </>
  );
}

function profileDomain(profile: { losses: number[]; limit: number }, best: number): [number, number] {
  const low = Math.min(best, ...profile.losses);
  const high = Math.min(Math.max(...profile.losses, profile.limit), low + 3 * (profile.limit - low));
  return [low - 0.08 * (high - low), high + 0.08 * (high - low)];
}

export function Starts({ result }: { result: FitResult }) {
  return (
    <>
      {result.stages.map((stage, i) => {
        const losses = stage.start_losses ?? [];
        if (losses.length < 2) return null;
        const above = losses.map((loss) => loss - Math.min(result.loss, ...losses));
        return (
          <Picture key={i} title={`Starts: ${stageWords(stage.kind)}`} note="Where each start ended, best first. A plateau at the bottom means that many found the same optimum.">
            <Panel
              title="Loss at the end of each start"
              layers={[{ kind: "dots", x: losses.map((_, k) => k + 1), y: losses, colour: COLOURS[2]!, large: true }]}
              x={{ label: "start", integer: true }}
              y={{ label: "loss", log: losses.every((loss) => loss > 0) && Math.max(...above) > 10 * Math.abs(losses[0]!) }}
            />
          </Picture>
        );
      })}
    </>
  );
}
