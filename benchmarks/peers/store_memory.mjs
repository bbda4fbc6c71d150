// A store for node-oidc-provider in memory, as its own is, which forgets after a thousand entries: too few for a sample.
export function open() {
  const rows = new Map();
  const grants = new Map();
  const uids = new Map();

  return class {
    constructor(name) { this.name = name; }
    key(id) { return `${this.name}:${id}`; }
    async upsert(id, payload) {
      const key = this.key(id);
      rows.set(key, payload);
      if (payload.uid) uids.set(payload.uid, key);
      if (payload.grantId) grants.set(payload.grantId, [...(grants.get(payload.grantId) ?? []), key]);
    }
    async find(id) { return rows.get(this.key(id)); }
    async findByUid(uid) { return rows.get(uids.get(uid)); }
    async findByUserCode() { return undefined; }
    async consume(id) { rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
    async destroy(id) { rows.delete(this.key(id)); }
    async revokeByGrantId(grantId) { (grants.get(grantId) ?? []).forEach((key) => rows.delete(key)); }
  };
}
