/** The types of the public API that this page uses, generated from the service's OpenAPI document. */
import type { components } from "./openapi";

type Schemas = components["schemas"];

export type Fit = Schemas["Fit"];
export type FitResult = Schemas["FitResult"];
export type Trajectory = Schemas["Trajectory"];
export type PredictionResult = Schemas["PredictionResult"];
export type Estimate = Schemas["Estimate"];
export type Dense = Schemas["Dense"];
export type FitRequest = Schemas["FitProblem"];
export type Series = Schemas["Series"];
export type Experiment = Schemas["Experiment"];
export type Definition = Schemas["SystemDefinition"];
export type System = Schemas["SystemDescription"];
export type Noise = Schemas["Noise"];
export type Unknown = Schemas["Unknown"];
export type Entry = Schemas["InitialStateEntry"];
export type Dose = Schemas["Dose"];
export type Simulation = Schemas["SimulationResult"];
export type Mistake = Schemas["ProblemDetail"];
export type ProblemBody = Schemas["Problem"];
export type Values = (number | null)[];

/** A `progress` event of a fit. */
export interface Progress {
  stage: string;
  step: number;
  steps: number;
  loss?: number;
  fraction: number;
  parameters?: Record<string, number>;
  initial_state?: Record<string, number>;
  losses: [number, number][];
}
