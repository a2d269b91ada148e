import { CLAIM_PHASES, type DrainClaim } from '../drain-slots.ts';

export function encodeClaim({ phase, arn, cluster, reason, since, session }: DrainClaim): string {
  return JSON.stringify({ phase, arn, cluster, reason, since, session });
}

/** null where it is no claim that this version can read. */
export function decodeClaim(text: string): DrainClaim | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { phase: phaseText, ...fields } = Object(value) as Record<string, unknown>;
  const phase = CLAIM_PHASES.find((each) => each === phaseText);
  const { arn, cluster, reason, since, session } = fields;
  if (!phase || typeof arn !== 'string' || typeof cluster !== 'string') return null;
  if (typeof reason !== 'string' || typeof since !== 'string' || typeof session !== 'string') return null;
  return { phase, arn, cluster, reason, since, session };
}
