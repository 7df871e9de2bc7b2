/** A link to a preview, as returned by creating a preview token. Other members are ignored. */
export interface Link {
  /** The preview's address with its token. May be left out where `Options.url` is the address without one. */
  url?: string;
  /** The token, where `url` has none. */
  token?: string;
  /** When the token expires (RFC 3339). */
  expires_at?: string;
  /** In how many seconds it expires; takes precedence over `expires_at`, because it does not depend on the visitor's clock. */
  expires_in?: number;
}

/** The message of the page in the frame when its session has expired. */
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
  /** Asks your backend for a fresh link. With it (or `getToken`) the session is renewed before it expires. */
  getUrl?: () => string | Link | Promise<string | Link>;
  /** The same, for a backend that returns only a token. */
  getToken?: () => Link | Promise<Link>;
  /** Attributes of the iframe, beside or instead of the default ones; null removes one. */
  attributes?: Record<string, string | null>;
  /** The iframe's accessible name. */
  title?: string;
  /** Something failed. It is retried automatically where that may help. */
  onError?: (error: EmbedError) => void;
  /** The frame shows that its session has expired. It is renewed automatically, if there is a way to get a link. */
  onExpired?: (expired: Expired) => void;
  /** The session was renewed without a reload. */
  onRefresh?: (session: { expiresAt: Date }) => void;
}

export interface Embed {
  readonly iframe: HTMLIFrameElement;
  /** Renews the session now. */
  refresh(): Promise<void>;
  /** Removes the iframe and stops renewing. */
  destroy(): void;
}

/** Mounts a preview into an element, or the first one that a selector finds. */
export function mount(target: Element | string, options: Options): Embed;
