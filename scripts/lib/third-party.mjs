// The list of the packages that a bundle has parts of, with their licences.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const LICENCE_FILE = /^(licen[cs]e|copying|notice)(\.(md|txt))?$/i;

/**
 * One Markdown page: a table of the packages, and each licence text once.
 * @param inputs paths of the bundle's input files below the checkout, as esbuild's metafile has them
 * @throws Error for a package that does not say its licence
 */
export function thirdPartyPage(inputs) {
  const folders = new Set(inputs.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? ''));
  folders.delete('');
  // One version may lie in several folders.
  const found = new Map([...folders].map(describePackage).map((each) => [`${each.name} ${each.version}`, each]));
  const packages = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  const texts = new Map();
  for (const { name, text } of packages) {
    if (text !== null) texts.set(text, [...(texts.get(text) ?? []), name]);
  }
  const rows = packages.map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`);
  const parts = [...texts].map(
    ([text, names]) => `## ${names.join(', ')}\n\n${text.replace(/^/gm, '    ').trimEnd()}\n`,
  );
  return `# Packages that are bundled here

Made by scripts/build.mjs from what it bundled. A package without a text below brings none.

| package | version | licence |
|---|---|---|
${rows.join('\n')}

${parts.join('\n')}`;
}

function describePackage(folder) {
  const { name, version, license: licence } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (typeof licence !== 'string') throw new Error(`${folder}/package.json names no licence`);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => LICENCE_FILE.test(file)) : [];
  const text = files.sort().map((file) => readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim());
  return { name, version, licence, text: text.length === 0 ? null : text.join('\n\n') };
}
