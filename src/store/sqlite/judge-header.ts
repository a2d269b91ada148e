const MAGIC = 'SQLite format 3\0';

/**
 * Why a file that begins with `header` must not be touched; null when it is ours, or empty.
 * Offsets are those of https://sqlite.org/fileformat2.html#the_database_header
 * @param header the first 100 bytes, or what there is of them
 */
export function judgeHeader(header: Buffer, applicationId: number, schemaNumber: number): string | null {
  if (header.length === 0) return null;
  if (header.length < 100 || header.toString('latin1', 0, 16) !== MAGIC) return 'the file is not a database';
  if (header.readUInt32BE(68) !== applicationId) return 'the database is of another application';
  const found = header.readUInt32BE(60);
  if (found === schemaNumber) return null;
  return `its tables are of version ${found}, this program knows version ${schemaNumber}; use the newer program`;
}
