// SPDX-License-Identifier: Apache-2.0
#include "server/services/stream_sink.h"

#include <utility>

#include "core/request/endings.h"

namespace paligemma {
namespace {

// Messages queued before the error are still sent, so that the client has the objects that came in
// time.
bool EndsBehindMessages(const Status& status) {
  return status.reason() == Reason::kResponseTooLarge;
}

}  // namespace

StreamSink::StreamSink(std::shared_ptr<StreamGenerateCall> call,
                       std::unique_ptr<CallSession> session,
                       std::shared_ptr<const ServedModel::Loaded> model)
    : call_(std::move(call)), session_(std::move(session)), model_(std::move(model)) {}

bool StreamSink::FindsObjects() const {
  return TraitsOf(session_->response_context().task).has_objects;
}

void StreamSink::OnDelta(AnswerDelta delta) {
  if (!delta.tokens.empty()) session_->NoteDelta(static_cast<int>(delta.tokens.size()));
  if (!failure_.ok()) return;
  if (!FindsObjects() || session_->response_context().options.logprobs_asked) SendText(delta);
  for (const Object& object : delta.objects) SendObject(object, delta.candidate_index);
}

void StreamSink::SendText(const AnswerDelta& delta) {
  if (delta.text.empty() && delta.tokens.empty()) return;
  v1::StreamGenerateResponse message;
  v1::TextDelta* const text = message.mutable_delta();
  text->set_text(delta.text);
  text->set_token_count(static_cast<int>(delta.tokens.size()));
  text->set_candidate_index(delta.candidate_index);
  if (session_->response_context().options.logprobs_asked) {
    model_->writer->AddLogprobs(delta.logprobs, text->mutable_logprobs());
  }
  const bool merged = call_->MergeIntoLast([&message](v1::StreamGenerateResponse* last) {
    const v1::TextDelta& more = message.delta();
    if (!last->has_delta() || last->delta().candidate_index() != more.candidate_index()) {
      return false;
    }
    v1::TextDelta* const all = last->mutable_delta();
    all->mutable_text()->append(more.text());
    all->set_token_count(all->token_count() + more.token_count());
    all->mutable_logprobs()->MergeFrom(more.logprobs());
    return true;
  });
  if (!merged) Send(std::move(message));
}

void StreamSink::SendObject(const Object& object, int candidate_index) {
  const TimePoint began = Clock::Real()->Now();
  v1::StreamGenerateResponse message;
  v1::ObjectFound* const out = message.mutable_object();
  FillObject(object, out->mutable_object());
  out->set_object_index(num_objects_sent_++);
  out->set_candidate_index(candidate_index);
  Send(std::move(message));
  postprocess_ += Clock::Real()->Now() - began;
}

void StreamSink::Send(v1::StreamGenerateResponse message) {
  if (!failure_.ok()) return;
  session_->NoteMessage();
  if (call_->Write(std::move(message))) return;
  Fail(SlowConsumer());
}

Status StreamSink::SlowConsumer() {
  return Status(StatusCode::kResourceExhausted, Reason::kSlowConsumer,
                "the client reads the stream too slowly",
                {{"limit", std::to_string(StreamGenerateCall::Method().max_buffered_bytes)}});
}

Status StreamSink::EndOf(StreamGenerateCall::Ending ending) {
  switch (ending) {
    case StreamGenerateCall::Ending::kSent:
      break;
    case StreamGenerateCall::Ending::kStalled:
      return SlowConsumer();
    case StreamGenerateCall::Ending::kBroken:
      return CancelledStatus("stream");
  }
  return OkStatus();
}

void StreamSink::Fail(Status status) {
  failure_ = std::move(status);
  // The handle is known from the second delta on at the latest. Without it the request ends by
  // itself.
  if (const Backend::Handle handle = handle_.load(std::memory_order_acquire); handle != 0) {
    model_->backend->Cancel(handle);
  }
}

Status StreamSink::SendResult(Answer result, size_t* bytes) {
  const ResponseContext& context = session_->response_context();
  if (context.options.omit_streamed_masks) {
    for (Candidate& candidate : result.candidates) {
      for (Object& object : candidate.objects) object.mask = nullptr;
    }
  }
  v1::StreamGenerateResponse message;
  const TimePoint began = Clock::Real()->Now();
  PG_RETURN_IF_ERROR(model_->writer->Write(context, std::move(result), message.mutable_result()));
  postprocess_ += Clock::Real()->Now() - began;
  session_->NotePostprocess(postprocess_, InfoOf(message.mutable_result()));
  *bytes = message.ByteSizeLong();
  PG_RETURN_IF_ERROR(session_->CheckSize(*bytes));
  Send(std::move(message));
  return failure_;
}

void StreamSink::OnDone(Status status, Answer result) {
  session_->Note(result);
  size_t bytes = 0;
  if (!failure_.ok()) status = failure_;
  if (status.ok()) status = SendResult(std::move(result), &bytes);
  status = WithPathPrefix(status, TaskPath(session_->response_context().task));
  if (!status.ok()) {
    CallSession::Outcome outcome = session_->Finish(status, bytes);
    call_->Finish(std::move(outcome.status), std::move(outcome.trailers), nullptr,
                  EndsBehindMessages(status) ? StreamGenerateCall::Waiting::kSend
                                             : StreamGenerateCall::Waiting::kDrop);
    return;
  }
  CallSession::Outcome outcome = session_->Conclude(status, bytes);
  call_->Finish(
      std::move(outcome.status), std::move(outcome.trailers),
      [session = session_](StreamGenerateCall::Ending ending) { session->Record(EndOf(ending)); });
}

}  // namespace paligemma
