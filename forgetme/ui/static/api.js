// The one way to the server: JSON in, JSON out, with errors that already are plain sentences.

import { signedIn } from "./signin.js";

const BASE = new URL("forgetme/", document.baseURI).href;
const OUTLIVES = 8000; // characters; sent also when the tab closes (browsers take 64 KiB at a time)

/** What the server refused, in words that can be shown as they are. */
export class Refused extends Error {
  constructor(message, kind, status, body) {
    super(message);
    this.kind = kind; // "stale", "bad", "missing", "model", "offline", …
    this.status = status;
    this.body = body;
  }
}

async function call(path, options) {
  let answer;
  try {
    answer = await fetch(BASE + "api/" + path, {
      ...options,
      headers: { "X-ForgetMe": "1", ...options.headers },
      credentials: "same-origin",
    });
  } catch {
    throw new Refused(
      "ForgetMe does not answer. Nothing you saved is lost; start the program again, then reload.",
      "offline",
      0,
    );
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    await signedIn(); // over the work; then the same is asked again
    return call(path, options);
  }
  if (!answer.ok) {
    throw new Refused(
      body.words ?? `The server refused this (${answer.status}). Reload the page.`,
      body.error ?? "refused",
      answer.status,
      body,
    );
  }
  return body;
}

export function get(path) {
  return call(path, { method: "GET" });
}

export function post(path, body = {}, more = {}) {
  const text = JSON.stringify(body);
  return call(path, {
    keepalive: text.length <= OUTLIVES,
    ...more,
    method: "POST",
    body: text,
    headers: { "Content-Type": "application/json" },
  });
}

/** Sends a file's bytes as they are; the server reads, checks and re-encodes them. */
export function send(file, concept) {
  return upload("images", file, { concept });
}

/** Sends a file's bytes to any route that takes one. */
export function upload(path, file, more = {}) {
  return call(`${path}?${new URLSearchParams({ name: file.name, ...more })}`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
  });
}

/** The address of a picture in the store. */
export function picture(sha) {
  return `${BASE}picture/${sha}.png`;
}

/** A small copy of a picture, at most `side` pixels. */
export function thumbnail(sha, side = 128) {
  return `${BASE}thumbnail/${side}/${sha}.png`;
}

/** A layer that the server composes: "foreground", "merged" or "mask"; `key` names its content. */
export function layer(id, key, what) {
  return `${BASE}sample/${id}/${key}/${what}.png`;
}
