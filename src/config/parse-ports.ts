import { InvalidArgumentError } from 'commander';

/** Host ports, each once. */
export interface HostPorts {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

const NO_PORTS: HostPorts = { tcp: [], udp: [] };

/** `8080`, `8080/tcp`, `9090/udp`; several apart by commas or by repeating the flag. */
export function hostPorts(text: string, previous: HostPorts = NO_PORTS): HostPorts {
  const tcp = new Set(previous.tcp);
  const udp = new Set(previous.udp);
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(part.trim());
    const port = Number(match?.[1]);
    if (!match || port < 1 || port > 65_535) {
      throw new InvalidArgumentError(
        `"${part.slice(0, 40)}" is not PORT or PORT/udp, such as 8080,9090/udp, from 1 to 65535.`,
      );
    }
    (match[2] === 'udp' ? udp : tcp).add(port);
  }
  return { tcp: [...tcp], udp: [...udp] };
}
