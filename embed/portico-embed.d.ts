/** A link to a preview, as minting a preview token answers it. Other members are ignored. */
export interface Link {
  /** The preview's address with its token. May be left out where `Options.url` is the address without one. */
  url?: string;
  /** The token, where `url` has none. */
  token?: string;
  /** When the token expires (RFC 3339). */
  expires_at?: string;
  /** In how many seconds it expires; counts before `expires_at`, because it does not depend on the visitor's clock. */
  expires_in?: number;
}

/** What the page in the frame tells when its session has ended. */
export interface Expired {
  type: 'preview:session-expired';
  /** The error code, such as `token_expired`. */
  code: string;
  /** The sandbox's slug, where the visitor may know it. */
  sandbox: string | null;
  /** Its port, where the visitor may know it. */
  port: number | null;
  reason: 'expired' | 'revoked' | 'invalid' | 'missing' | 'blocked';
}

/** An error with a stable code: `no_target`, `no_url`, `bad_link`, `cookies_blocked`, `session_lost`, `refused`, or a code of the preview's. */
export interface EmbedError extends Error {
  code?: string;
}

export interface Options {
  /** The preview's address, with its token or, together with `getToken`, without. */
  url?: string;
  /** When the token in `url` expires. */
  expires_at?: string;
  expires_in?: number;
  /** Asks your backend for a fresh link. With it (or `getToken`) the session is renewed before it ends. */
  getUrl?: () => string | Link | Promise<string | Link>;
  /** The same, for a backend that answers with the token alone. */
  getToken?: () => Link | Promise<Link>;
  /** Attributes of the iframe, beside or instead of the default ones; null leaves one out. */
  attributes?: Record<string, string | null>;
  /** The iframe's accessible name. */
  title?: string;
  /** Something failed. Where another attempt may help, one follows by itself. */
  onError?: (error: EmbedError) => void;
  /** The frame shows that its session has ended. A new one follows by itself, if there is a way to ask for one. */
  onExpired?: (expired: Expired) => void;
  /** The session was renewed without a reload. */
  onRefresh?: (session: { expiresAt: Date }) => void;
}

export interface Embed {
  readonly iframe: HTMLIFrameElement;
  /** Renews the session now. */
  refresh(): Promise<void>;
  /** Takes the iframe away and ends everything. */
  destroy(): void;
}

/** Mounts a preview into an element, or the first one that a selector finds. */
export function mount(target: Element | string, options: Options): Embed;
