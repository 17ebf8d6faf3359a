// Branded ids: texts that must not be mixed up, told apart by the compiler.

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type ParticipantId = Branded<"ParticipantId">;
/** UUID of a media stream (a microphone, a camera, a shared screen). */
export type StreamId = Branded<"StreamId">;
export type HandlerId = Branded<"HandlerId">;
/** The short code of a meeting, as it stands in its link. */
export type MeetingCode = Branded<"MeetingCode">;

// The one place where a text becomes an id: the edges call these once it came
// from a message of the server, which is where ids are made.
export const participantId = (text: string): ParticipantId => text as ParticipantId;
export const streamId = (text: string): StreamId => text as StreamId;
export const handlerId = (text: string): HandlerId => text as HandlerId;
export const meetingCode = (text: string): MeetingCode => text as MeetingCode;
