// node-oidc-provider as a peer: the clients, the person and the token formats of benchmarks/grounds.py.
// STORE: memory, sqlite (a file, WAL, synchronous NORMAL) or redis. POST /mint makes codes and refresh tokens through the
// provider's own models, outside the timed part.
import { readFileSync } from "node:fs";

import Provider from "oidc-provider";

const { PORT, STORE, STORE_ADDRESS, KEYS, APP, SERVICE, SECRET, REDIRECT_URI, CHALLENGE } = process.env;
const FORMATS = { opaque: ["opaque", "RS256"], es256: ["jwt", "ES256"], rs256: ["jwt", "RS256"] };
const ISSUER = `http://localhost:${PORT}`;
const PERSON = { name: "Ada Lovelace", email: "ada@example.org", email_verified: true };

const stores = {
  memory: async () => (await import("./store_memory.mjs")).open(),
  sqlite: async () => (await import("./store_sqlite.mjs")).open(STORE_ADDRESS),
  redis: async () => (await import("./store_redis.mjs")).open(STORE_ADDRESS),
};

const provider = new Provider(ISSUER, {
  adapter: await stores[STORE](),
  clients: [
    { client_id: APP, client_secret: SECRET, redirect_uris: [REDIRECT_URI], response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token"], scope: "openid profile email offline_access opaque" },
    { client_id: SERVICE, client_secret: SECRET, redirect_uris: [], response_types: [],
      grant_types: ["client_credentials"], scope: "opaque es256 rs256" },
  ],
  jwks: JSON.parse(readFileSync(KEYS, "utf8")),
  scopes: ["openid", "offline_access", "opaque", "es256", "rs256"],
  claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  rotateRefreshToken: true,
  routes: { token: "/oauth/token", introspection: "/oauth/introspect", userinfo: "/oauth/userinfo", jwks: "/.well-known/jwks.json" },
  ttl: { AccessToken: 900, AuthorizationCode: 600, ClientCredentials: 900, Grant: 2592000, IdToken: 900, RefreshToken: 2592000 },
  findAccount: async (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, ...PERSON }) }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => (ctx.oidc.params.grant_type === "client_credentials" ? `https://${ctx.oidc.params.scope}.example.org` : undefined),
      getResourceServerInfo: (_ctx, resource) => {
        const scope = new URL(resource).hostname.split(".")[0];
        const [accessTokenFormat, alg] = FORMATS[scope];
        return { scope, audience: resource, accessTokenTTL: 900, accessTokenFormat, jwt: { sign: { alg } } };
      },
    },
  },
});

async function mint(kind, scope, count) {
  const client = await provider.Client.find(APP);
  const made = [];
  for (let number = 0; number < count; number += 1) {
    const grant = new provider.Grant({ accountId: "ada", clientId: APP });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const common = { client, accountId: "ada", grantId, scope, claims: {}, authTime: Math.floor(Date.now() / 1000), gty: "authorization_code", expiresWithSession: false };
    const row = kind === "code"
      ? new provider.AuthorizationCode({ ...common, redirectUri: REDIRECT_URI, codeChallenge: CHALLENGE, codeChallengeMethod: "S256", nonce: `${number}-nonce` })
      : new provider.RefreshToken({ ...common, rotations: 0, iiat: common.authTime });
    made.push(await row.save());
  }
  return made;
}

provider.use(async (ctx, next) => {
  if (ctx.path !== "/mint") return next();
  ctx.body = await mint(ctx.query.kind, ctx.query.scope, Number(ctx.query.count));
});
provider.on("grant.error", (_ctx, error) => console.error(error.message, error.error_detail));
provider.listen(Number(PORT), "127.0.0.1");
