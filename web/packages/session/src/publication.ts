// What this participant sends: each stream as it is announced, its encodings
// included.
import { create } from "@bufbuild/protobuf";
import { Carrier, PublishStreamSchema, type PublishStream } from "@darktower/protocol";
import type { SourceKind } from "./api";
import type { StreamId } from "./ids";
import { streamTypeOf } from "./roster";

/** A stream that this participant sends. */
export interface Publication {
  readonly streamId: StreamId;
  readonly kind: SourceKind;
  /** 1 to 255, distinct among the participant's streams. */
  readonly number: number;
  readonly codec: "opus" | "vp08";
  readonly maxBitrate: number;
  readonly muted: boolean;
  readonly video?: {
    readonly width: number;
    readonly height: number;
    readonly framerate: number;
    /** Encodings, smallest first: the place is the number. */
    readonly layers: readonly PublishedLayer[];
  };
}

export interface PublishedLayer {
  readonly width: number;
  readonly height: number;
  /** Bits per second. */
  readonly maxBitrate: number;
}

export function publishStream(publication: Publication): PublishStream {
  const { streamId, kind, number, muted, codec, maxBitrate, video } = publication;
  return create(PublishStreamSchema, {
    streamId,
    streamType: streamTypeOf(kind),
    streamNumber: number,
    carrier: Carrier.UNSPECIFIED,
    muted,
    metadata: { codec, maxBitrate, ...(video === undefined ? {} : { video: wireVideo(video) }) },
  });
}

/** One encoding needs no list of them. */
function wireVideo({ layers, ...video }: NonNullable<Publication["video"]>) {
  return {
    ...video,
    simulcastLayers: layers.length < 2 ? [] : layers.map((one, i) => ({ layerId: `${i}`, ...one })),
  };
}
