// A store for node-oidc-provider over SQLite, as its adapter interface asks: one table, one statement a call.
import Database from "better-sqlite3";

export function open(file) {
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = NORMAL");
  db.exec(`CREATE TABLE IF NOT EXISTS row (key TEXT PRIMARY KEY, payload TEXT, grant_id TEXT, uid TEXT, expires_at INTEGER) WITHOUT ROWID;
           CREATE INDEX IF NOT EXISTS by_grant ON row (grant_id)`);
  const put = db.prepare("INSERT INTO row VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at");
  const get = db.prepare("SELECT payload FROM row WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)");
  const byUid = db.prepare("SELECT payload FROM row WHERE uid = ?");
  const use = db.prepare("UPDATE row SET payload = json_set(payload, '$.consumed', ?) WHERE key = ?");
  const remove = db.prepare("DELETE FROM row WHERE key = ?");
  const removeGrant = db.prepare("DELETE FROM row WHERE grant_id = ?");
  const now = () => Math.floor(Date.now() / 1000);
  const parsed = (row) => (row ? JSON.parse(row.payload) : undefined);

  return class {
    constructor(name) { this.name = name; }
    async upsert(id, payload, expiresIn) {
      put.run(`${this.name}:${id}`, JSON.stringify(payload), payload.grantId ?? null, payload.uid ?? null, expiresIn ? now() + expiresIn : null);
    }
    async find(id) { return parsed(get.get(`${this.name}:${id}`, now())); }
    async findByUid(uid) { return parsed(byUid.get(uid)); }
    async findByUserCode() { return undefined; }
    async consume(id) { use.run(now(), `${this.name}:${id}`); }
    async destroy(id) { remove.run(`${this.name}:${id}`); }
    async revokeByGrantId(grantId) { removeGrant.run(grantId); }
  };
}
