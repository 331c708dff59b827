/** What a session says of itself, and where to. Ids are UUIDs; texts longer than said are refused by the gateway. */
export interface Options {
  /** The gateway's address, https://HOST[/PATH]; by default the one this module was loaded from. */
  url?: string;
  /** A public write key. */
  key?: string;
  contentId: string;
  profileId?: string;
  /** One viewing of one content; by default a new one. */
  sessionId?: string;
  /** web, mobile, tv, …: 50 characters. */
  device?: string;
  /** 50 characters. */
  platform?: string;
  /** Name of the edge that serves the film: 100 characters. */
  cdn?: string;
  /** Name of the player: 100 characters. */
  player?: string;
  /** 50 characters. */
  appVersion?: string;
  /** Stored with every event: an object of at most 2,048 bytes of JSON. */
  metadata?: Record<string, unknown>;
  /** Kept out of every number. */
  test?: boolean;
  /** Seconds between signs of life while somebody watches, 10 by default: the gateway's `redis.heartbeat_s`. */
  heartbeatS?: number;
  /** false: nothing is made, kept or sent until `consent(true)`. */
  consent?: boolean;
}

/** Of an ad event, beside its name; the session's own ids are added. */
export interface AdFields {
  impression_id: string;
  campaign_id?: string;
  /** 100 characters. */
  creative_id?: string;
  /** Of the event `progress` alone: 32 characters. */
  progress_offset?: string;
  /** 50 characters. */
  error_code?: string;
  /** Of the ad, in seconds. */
  duration?: number;
  content_id?: string;
  profile_id?: string;
  session_id?: string;
  test?: boolean;
}

/** One session that is reported. */
export interface Reporting {
  readonly sessionId: string;
  /** Of what plays, in kbps; another one while somebody watches is a quality_change. */
  bitrate: number | undefined;
  /** A fatal error that the <video> does not know of; its code has at most 50 characters. */
  error(code: string, message?: string): void;
  /** An ad event by its VAST name: impression, start, firstQuartile, … */
  ad(event: string, fields: AdFields): void;
  /** true: report from now on. false: no more, and what was kept on this device is removed. */
  consent(given: boolean): void;
  /** Send now, unless the gateway was told to be left alone for a while; settles once it has answered. */
  flush(): Promise<void>;
  /** The viewing is over: a stop, unless it ended by itself, and nothing more. Settles like flush. */
  detach(): Promise<void>;
}

/** Report what this element does, until `detach`. */
export function attach(video: HTMLVideoElement, options: Options): Reporting;
