// The records of the forwarding figures, as `report.rs` of the example
// `forward_figures` writes them.

export interface Figures {
  readonly usAPacket: number;
  readonly cpuSecondsAGb: number;
  readonly corePercent: number;
}

export interface Measured {
  readonly part: string;
  readonly receivers: number | undefined;
  /** Packets a second that were offered. */
  readonly offered: number | undefined;
  readonly handler: Figures;
  readonly raw: Figures | undefined;
  readonly ratio: number | undefined;
  readonly goal: number | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null) throw new Error(`${what} is no object`);
  return value as Fields;
}

function number(of: Fields, name: string): number {
  const value = of[name];
  if (typeof value !== "number") throw new Error(`${name} is no number`);
  return value;
}

function figures(value: unknown, what: string): Figures {
  const of = fields(value, what);
  return {
    usAPacket: number(of, "us_a_packet"),
    cpuSecondsAGb: number(of, "cpu_s_a_gb"),
    corePercent: number(of, "core_percent"),
  };
}

function record(line: string): Measured {
  const of = fields(JSON.parse(line), "a record");
  const optional = (name: string) => (name in of ? number(of, name) : undefined);
  if (typeof of["part"] !== "string") throw new Error("a record is of no part");
  return {
    part: of["part"],
    receivers: optional("receivers"),
    offered: optional("offered_packets_per_s"),
    handler: figures(of["handler"], "handler"),
    raw: "raw" in of ? figures(of["raw"], "raw") : undefined,
    ratio: optional("ratio"),
    goal: optional("goal"),
  };
}

/** Other parts of the bench may write to the same file. */
const ELSEWHERE: readonly unknown[] = ["mixing", "lossy"];

function isOfForwarding(line: string): boolean {
  return !ELSEWHERE.includes(fields(JSON.parse(line), "a record")["part"]);
}

export function parseRecords(text: string): Measured[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "" && isOfForwarding(line))
    .map(record);
}
