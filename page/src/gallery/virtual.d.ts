declare module "virtual:gallery" {
  import type { FitRequest } from "../api/types";

  export interface Example {
    key: string;
    title: string;
    text: string;
    tags: string[];
    thumbnail: number[][];
    load: () => Promise<FitRequest>;
  }
  export const examples: Example[];
}
