// Video decoders, some made ahead of their use: making one takes longer than
// decoding a key frame, and a join should not wait for it.

export interface VideoOutput {
  /** The picture is the receiver's from here on. */
  picture(frame: VideoFrame): void;
  decodeFailed(): void;
}

interface Spare {
  readonly codec: string;
  readonly decoder: VideoDecoder;
  output: VideoOutput | undefined;
}

const SPARES = 2;
const spares: Spare[] = [];

function make(codec: string): Spare {
  const spare: Spare = {
    codec,
    output: undefined,
    decoder: new VideoDecoder({
      output: (frame) => {
        if (spare.output === undefined) frame.close();
        else spare.output.picture(frame);
      },
      error: () => spare.output?.decodeFailed(),
    }),
  };
  spare.decoder.configure({ codec, optimizeForLatency: true });
  return spare;
}

/** Makes decoders for the usual codec ahead of the first video. */
export function prepareVideoDecoders(): void {
  while (spares.length < SPARES) spares.push(make("vp8"));
}

/** A configured decoder whose pictures go to `output`. */
export function takeVideoDecoder(codec: string, output: VideoOutput): VideoDecoder {
  const place = spares.findIndex(
    (spare) => spare.codec === codec && spare.decoder.state === "configured",
  );
  const taken = place < 0 ? make(codec) : (spares.splice(place, 1)[0] ?? make(codec));
  taken.output = output;
  return taken.decoder;
}
