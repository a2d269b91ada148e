import { hostname, networkInterfaces } from 'node:os';
import type { ExternalHost } from './read-external.ts';
import { readSmallFile } from './read-small-file.ts';
import { readSsmRegistration } from './read-ssm-registration.ts';

/** One read of it gives a page, some 30 routes: they are sorted, and those to everywhere come first. */
const MAX_ROUTES_BYTES = 4_096;

/** The host that this process runs on; in a container with `--net=host` that of the container. */
export const thisHost: ExternalHost = {
  registration: readSsmRegistration,
  interfaces: networkInterfaces,
  hostname,
  routes: async () => (await readSmallFile('/proc/net/route', MAX_ROUTES_BYTES)).toString('latin1'),
};
