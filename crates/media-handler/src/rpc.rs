//! The handler as its controllers see it.

use std::sync::Arc;

use async_trait::async_trait;
use dt_forward_core::{
    Class, ENCODINGS_MAX, EncodingSpec, Generation, RegisterError, RouteError, StreamSpec,
    Subscription,
};
use dt_frame::{FourCc, MediaKind, SlotLabel};
use dt_ids::{ControllerId, MeetingId, ParticipantId, StreamId, StreamNumber, UserId};
use dt_rpc::{RpcError, RpcResult};
use dt_wire::{
    internal::{
        self, DestinationClass, HandlerEvent, RegisterController, RegisterControllerResponse,
        RegisterParticipant, RegisterParticipantResponse, RouteMediaCommand, RouteMediaResponse,
        TelemetryRequest, UnregisterParticipant, UnregisterParticipantResponse,
    },
    v1::{MediaStream, StreamType},
};
use tokio::sync::mpsc;

use crate::{Inner, MediaHandler, cascade, lock, meeting::Meeting, now, processing};

#[async_trait]
impl dt_rpc::MediaHandler for MediaHandler {
    async fn register_controller(
        &self,
        request: RegisterController,
    ) -> RpcResult<RegisterControllerResponse> {
        let controller: ControllerId = id(&request.controller_id)?;
        Ok(RegisterControllerResponse {
            handler_id: self.inner.config.handler_id.to_string(),
            endpoint: Some(lock(&self.inner.endpoint).clone()),
            connection_token_key: self.inner.key.as_bytes().to_vec().into(),
            route_space: lock(&self.inner.route_spaces).of(controller),
        })
    }

    async fn register_participant(
        &self,
        request: RegisterParticipant,
    ) -> RpcResult<RegisterParticipantResponse> {
        let participant: ParticipantId = id(&request.participant_id)?;
        let generation = generation(request.generation)?;
        let streams: Vec<_> = request.streams.iter().map(spec).collect::<RpcResult<_>>()?;
        let user_id = UserId(request.user_id);
        let registered = self.inner.in_meeting(id(&request.meeting_id)?, |s| {
            s.forwarder
                .register(participant, user_id, &streams, generation, now())
        });
        registered
            .ok_or_else(too_many_meetings)?
            .map_err(register_error)?;
        Ok(RegisterParticipantResponse {
            connection_token: String::new(),
            media_handler_url: lock(&self.inner.endpoint).url.clone(),
        })
    }

    async fn unregister_participant(
        &self,
        request: UnregisterParticipant,
    ) -> RpcResult<UnregisterParticipantResponse> {
        let participant: ParticipantId = id(&request.participant_id)?;
        let generation = generation(request.generation)?;
        let meeting = self.inner.meeting_for(&request.meeting_id)?;
        let code = request.close_code;
        meeting.with(|s| s.unregister(participant, generation, code));
        Ok(UnregisterParticipantResponse {})
    }

    async fn route_media(&self, request: RouteMediaCommand) -> RpcResult<RouteMediaResponse> {
        let source: StreamId = id(&request.source_stream_id)?;
        let generation = generation(request.generation)?;
        let (plain, processed) = processing::split(&request)?;
        let destinations: Vec<_> = plain
            .into_iter()
            .filter(|to| to.handler_id.is_empty())
            .map(|to| {
                let label = SlotLabel::from_bits(to.stream_number)
                    .ok_or_else(|| RpcError::Invalid("a destination has no slot".into()))?;
                let how = Subscription {
                    label,
                    class: class(to.class()),
                    max_bitrate_bps: to.max_bitrate,
                };
                Ok((id::<ParticipantId>(&to.participant_id)?, how))
            })
            .collect::<RpcResult<_>>()?;
        let links = cascade::links(&request)?;
        let meeting = self.inner.meeting_for(&request.meeting_id)?;
        let routed = meeting
            .with(|s| s.route(source, destinations, links, processed, generation))
            .map_err(route_error)?;
        let left_out = routed.not_made_anew.iter();
        Ok(RouteMediaResponse {
            applied: Some(internal::Generation {
                lease: routed.applied.lease,
                counter: routed.applied.counter,
            }),
            not_made_anew_ids: left_out.map(ToString::to_string).collect(),
        })
    }

    async fn telemetry(
        &self,
        request: TelemetryRequest,
    ) -> RpcResult<mpsc::Receiver<HandlerEvent>> {
        let controller = id(&request.controller_id)?;
        let load = self.inner.load();
        let listening = self.inner.events.listen(controller, load);
        let (events, listener) = listening.map_err(|_| {
            RpcError::Capacity("too many controllers listen to this handler".into())
        })?;
        for meeting in self.inner.all_meetings() {
            meeting.tell_present(&listener);
        }
        tokio::spawn(crate::events::beat(Arc::downgrade(&self.inner), listener));
        Ok(events)
    }
}

impl Inner {
    fn meeting_for(&self, text: &str) -> RpcResult<Arc<Meeting>> {
        let meeting: MeetingId = id(text)?;
        self.meeting_or_new(meeting).ok_or_else(too_many_meetings)
    }
}

fn too_many_meetings() -> RpcError {
    RpcError::Capacity("this handler has too many meetings".into())
}

pub(crate) fn id<T>(text: &str) -> RpcResult<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| RpcError::Invalid(error.to_string()))
}

fn generation(of: Option<internal::Generation>) -> RpcResult<Generation> {
    let of = of.ok_or_else(|| RpcError::Invalid("the generation is missing".into()))?;
    Ok(Generation {
        lease: of.lease,
        counter: of.counter,
    })
}

pub(crate) fn spec(stream: &MediaStream) -> RpcResult<StreamSpec> {
    let invalid = |sentence: String| RpcError::Invalid(sentence);
    let kind = match StreamType::try_from(stream.stream_type) {
        Ok(StreamType::Audio) => MediaKind::Audio,
        Ok(StreamType::VideoCamera | StreamType::VideoScreen) => MediaKind::Video,
        Err(_) => {
            return Err(invalid(format!(
                "unknown stream type {}",
                stream.stream_type
            )));
        }
    };
    let metadata = stream.metadata.clone().unwrap_or_default();
    let codec = match metadata.codec.as_str() {
        "" => None,
        text => Some(text.parse::<FourCc>().map_err(|e| invalid(e.to_string()))?),
    };
    if codec.is_some_and(|codec| codec.kind() != kind) {
        return Err(invalid("the codec does not fit the stream type".into()));
    }
    let video = metadata.video.unwrap_or_default();
    let count = video.simulcast_layers.len().max(1);
    if count > ENCODINGS_MAX {
        return Err(invalid(format!(
            "{count} encodings are more than {ENCODINGS_MAX}"
        )));
    }
    let mut layers = [EncodingSpec::default(); ENCODINGS_MAX];
    layers[0] = EncodingSpec::new(video.width, video.height, metadata.max_bitrate);
    for (layer, spec) in video.simulcast_layers.iter().zip(&mut layers) {
        *spec = EncodingSpec::new(layer.width, layer.height, layer.max_bitrate);
    }
    Ok(StreamSpec {
        stream_id: id(&stream.stream_id)?,
        number: StreamNumber::try_from(stream.stream_number).map_err(|e| invalid(e.to_string()))?,
        kind,
        codec,
        encodings: u8::try_from(count).expect("at most 16"),
        layers,
        muted: stream.muted,
    })
}

fn class(class: DestinationClass) -> Class {
    match class {
        DestinationClass::Other => Class::Other,
        DestinationClass::Speaker => Class::Speaker,
        DestinationClass::Screen => Class::Screen,
    }
}

fn register_error(error: RegisterError) -> RpcError {
    match error {
        RegisterError::TooManyParticipants | RegisterError::TooManyStreams => {
            RpcError::Capacity(error.to_string())
        }
        RegisterError::StreamTaken(_) => RpcError::Invalid(error.to_string()),
    }
}

fn route_error(error: RouteError) -> RpcError {
    match error {
        RouteError::TooManyRoutes | RouteError::TooManyDestinations => {
            RpcError::Capacity(error.to_string())
        }
        RouteError::Loop | RouteError::StreamTaken(_) => RpcError::Invalid(error.to_string()),
    }
}
