/** "RlCl", at offset 68 of the file: tells our files from those of other applications (https://sqlite.org/fileformat2.html#application_id). */
export const APPLICATION_ID = 0x526c436c;

/** `user_version`, at offset 60. Raise it with every change to the tables that an older program could not live with. */
export const SCHEMA_NUMBER = 1;

/**
 * A key-value store with revisions in four tables. `kv` is the present; `change` is how it came about, as far back as
 * `meta.compacted`, and holds what each change replaced, so that a reader can be given the past, too.
 * A lease has two deadlines: the one on the boot's monotonic scale counts in that boot, the wall clock's in any later one.
 */
export const SCHEMA = `
  CREATE TABLE meta (revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
  INSERT INTO meta VALUES (1, 0);
  CREATE TABLE kv (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, lease INTEGER NOT NULL, mod_revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX kv_by_lease ON kv (lease);
  CREATE TABLE lease (
    id INTEGER PRIMARY KEY, ttl_ms REAL NOT NULL, boot_id TEXT NOT NULL,
    deadline_monotonic_ms REAL NOT NULL, deadline_wall_ms REAL NOT NULL
  ) STRICT;
  CREATE INDEX lease_by_deadline ON lease (boot_id, deadline_monotonic_ms);
  CREATE TABLE change (
    seq INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
    previous TEXT, previous_lease INTEGER, previous_revision INTEGER
  ) STRICT;
  CREATE INDEX change_by_revision ON change (revision);
  CREATE INDEX change_by_key ON change (key, revision);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_NUMBER};
`;

/**
 * What tells this store's data apart from any other's. Databases from before it get it when they are next opened; older
 * programs do not look at it, so that those of one machine may be replaced one after the other.
 */
export const IDENTITY_SCHEMA = `
  CREATE TABLE identity (id TEXT NOT NULL) STRICT;
  INSERT INTO identity VALUES (lower(hex(randomblob(16))));
`;
