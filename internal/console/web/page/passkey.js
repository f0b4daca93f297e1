"use strict";

// Passkeys: what the gateway asks for, in the browser's own terms (Web Authentication Level 3 section 5.1.10),
// and the browser's answer.
const base64url = {
  bytes(text) {
    const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(raw, (c) => c.charCodeAt(0));
  },
  text(buffer) {
    return btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  },
};

const named = (list) => (list || []).map((c) => ({ ...c, id: base64url.bytes(c.id) }));

// What a browser says when somebody changed their mind, or none of their keys fits.
function plain(err) {
  if (err.name === "NotAllowedError") return new Error("The browser gave no passkey.");
  if (err.name === "InvalidStateError") return new Error("This device has a passkey for you already.");
  return err;
}

async function signWith(options) {
  let made;
  try {
    made = await navigator.credentials.get({
      publicKey: { ...options, challenge: base64url.bytes(options.challenge), allowCredentials: named(options.allowCredentials) },
    });
  } catch (err) {
    throw plain(err);
  }
  const r = made.response;
  return {
    id: made.id, rawId: base64url.text(made.rawId), type: made.type, authenticatorAttachment: made.authenticatorAttachment || undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: base64url.text(r.clientDataJSON), authenticatorData: base64url.text(r.authenticatorData),
      signature: base64url.text(r.signature), userHandle: r.userHandle ? base64url.text(r.userHandle) : undefined,
    },
  };
}

async function makePasskey(options) {
  let made;
  try {
    made = await navigator.credentials.create({
      publicKey: {
        ...options, challenge: base64url.bytes(options.challenge), user: { ...options.user, id: base64url.bytes(options.user.id) },
        excludeCredentials: named(options.excludeCredentials),
      },
    });
  } catch (err) {
    throw plain(err);
  }
  const r = made.response;
  return {
    id: made.id, rawId: base64url.text(made.rawId), type: made.type, authenticatorAttachment: made.authenticatorAttachment || undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: base64url.text(r.clientDataJSON), attestationObject: base64url.text(r.attestationObject),
      transports: r.getTransports ? r.getTransports() : [],
    },
  };
}
