/** Every label has a bounded set of values: sources, loops and checks are named by us or the operator; a node never is one. */
export interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'gauge', help, samples };
}

export function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'counter', help, samples };
}

export function plain(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}

export function seconds(ms: number | null): readonly Sample[] {
  // To the microsecond: what floating point makes of the rest is noise.
  return ms === null ? [] : plain(Math.round(ms * 1_000) / 1_000_000);
}

/** Samples with more labels, in front of their own. */
export function labelled(more: Sample['labels'], samples: readonly Sample[]): readonly Sample[] {
  return samples.map(({ labels, value }) => ({ labels: { ...more, ...labels }, value }));
}

export function oneHot(label: string, values: readonly string[], current: string | undefined): readonly Sample[] {
  return values.map((value) => ({ labels: { [label]: value }, value: value === current ? 1 : 0 }));
}
