import { InvalidArgumentError, Option } from 'commander';
import { DEFAULT_MASS_LOSS, type MassLossLimits } from '../registry/mass-loss.ts';
import { integerBetween, percentBetween } from './flags.ts';

export interface MassLossFlags {
  /** Percent. */
  readonly massLossShare: number | 'off';
  readonly massLossCount: number;
}

const TEXTS = {
  events: {
    share:
      'when more than this share of the nodes is lost at once, send "uncertain" first and mark the lost events as uncertain until "certain", a TTL later; "off": no loss is uncertain',
    count: 'fewer losses than this are never uncertain, whatever their share',
  },
  names: {
    share:
      'when more than this share of the nodes is lost at once, they keep their names until the loss is certain, a TTL later; "off": no loss is uncertain',
    count: 'fewer losses than this end names at once, whatever their share',
  },
  note: {
    share: 'when more than this share of the nodes is lost, a note says that the store may have failed; "off": no note',
    count: 'fewer losses than this get no note, whatever their share',
  },
} as const;

/**
 * How many losses at once count as a mass loss.
 * @param use `events`: the command sends events; `names`: it names nodes; `note`: it prints the roll and a note
 */
export function massLossOptions(use: keyof typeof TEXTS = 'events'): Option[] {
  const { share, count } = TEXTS[use];
  return [
    new Option('--mass-loss-share <percent>', share)
      .env('ROLLCALL_MASS_LOSS_SHARE')
      .default(DEFAULT_MASS_LOSS.share * 100, `${DEFAULT_MASS_LOSS.share * 100}%`)
      .argParser(shareOrOff),
    new Option('--mass-loss-count <n>', count)
      .env('ROLLCALL_MASS_LOSS_COUNT')
      .default(DEFAULT_MASS_LOSS.count)
      .argParser(integerBetween(1, 1_000_000)),
  ];
}

/** Null: no loss is uncertain. */
export function massLossLimits(flags: MassLossFlags): MassLossLimits | null {
  if (flags.massLossShare === 'off') return null;
  return { share: flags.massLossShare / 100, count: flags.massLossCount };
}

function shareOrOff(text: string): number | 'off' {
  if (text === 'off') return 'off';
  try {
    return percentBetween(1, 100)(text);
  } catch {
    throw new InvalidArgumentError('Write a percentage from 1% to 100%, such as 30%, or off.');
  }
}
