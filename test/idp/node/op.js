// An OpenID provider for the sign-in tests: oidc-provider with its own pages for trials, where any
// password is right. Its key, port and client come from the environment.
import Provider from 'oidc-provider';

const { PORT, REDIRECT_URI, BACKCHANNEL, JWKS, GROUPS, IN_ID_TOKEN, ACR } = process.env;

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: 'sallyport',
    client_secret: 'a-secret-of-the-test',
    redirect_uris: [REDIRECT_URI],
    ...(BACKCHANNEL && { backchannel_logout_uri: BACKCHANNEL, backchannel_logout_session_required: true }),
  }],
  jwks: JSON.parse(JWKS),
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  conformIdTokenClaims: !IN_ID_TOKEN,
  // With ACR it says that everybody came with that context, which its pages for trials cannot.
  ...(ACR && {
    acrValues: [ACR],
    interactions: { url: (_, i) => `/login/${i.uid}` },
    loadExistingGrant: async (ctx) => {
      const known = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
      if (known) return ctx.oidc.provider.Grant.find(known);
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid profile email groups');
      await grant.save();
      return grant;
    },
  }),
  features: { devInteractions: { enabled: !ACR }, backchannelLogout: { enabled: true } },
  // Its guard against addresses of the loopback is right, and in the way here.
  fetch: (url, { dispatcher: _, ...options }) => globalThis.fetch(url, options),
  cookies: { keys: ['a key of the test'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Name of ${id}`, email: `${id}@example.test`, email_verified: true, groups: GROUPS.split(',') }),
  }),
});
provider.use(async (ctx, next) => {
  if (!ACR || !ctx.path.startsWith('/login/')) return next();
  if (ctx.method === 'GET') {
    ctx.type = 'html';
    ctx.body = '<form method="post"><input name="login"><input name="password" type="password"><button>In</button></form>';
    return undefined;
  }
  let body = '';
  for await (const part of ctx.req) body += part;
  const accountId = new URLSearchParams(body).get('login');
  ctx.respond = false;
  return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId, acr: ACR, amr: ['pwd', 'otp'] } }, { mergeWithLastSubmission: false });
});
provider.on('server_error', (_, e) => console.error('server_error', e));
provider.on('authorization.error', (_, e) => console.error('authorization.error', e));
provider.on('grant.error', (_, e) => console.error('grant.error', e));
provider.on('backchannel.error', (_, e) => console.error('backchannel.error', e));
provider.listen(Number(PORT), '127.0.0.1');
