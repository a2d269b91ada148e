import { fileURLToPath } from 'node:url';

const path = (relative: string) => fileURLToPath(new URL(`../../../${relative}`, import.meta.url));

export const REPOSITORY = path('.');
/** Where `test/host/prepare` puts what it makes; `scripts/test host` calls it. */
export const MACHINE_TREE = path('node_modules/.cache/host/machine');
export const IMAGE_FILE = path('node_modules/.cache/host/image.tar');
