// SPDX-License-Identifier: Apache-2.0
#include "core/engine/delivery.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace paligemma {

Delivery::Delivery(Hooks hooks, const Clock* clock)
    : hooks_(std::move(hooks)), clock_(clock), thread_([this] { Loop(); }) {}

Delivery::~Delivery() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
}

void Delivery::Begin(DeliveryRequest request) { Push(std::move(request)); }

void Delivery::Reject(RequestId id, std::shared_ptr<ResponseSink> sink, Status status,
                      RequestResult result) {
  Push(Rejection{id, std::move(sink), std::move(status), std::move(result)});
}

void Delivery::OnEvents(std::vector<StepEvent> events, TimePoint when) {
  Push(Events{std::move(events), when});
}

void Delivery::EndAll(Status status) { Push(End{std::move(status)}); }

void Delivery::Push(Message message) {
  {
    MutexLock lock(&mutex_);
    messages_.push_back(std::move(message));
  }
  work_.NotifyOne();
}

void Delivery::Loop() {
  pthread_setname_np(pthread_self(), "pg-delivery");
  for (;;) {
    std::vector<Message> messages;
    bool last = false;
    {
      MutexLock lock(&mutex_);
      while (messages_.empty() && !stopping_) work_.Wait(&mutex_);
      std::swap(messages, messages_);
      last = messages.empty();
    }
    for (Message& message : messages) {
      std::visit([this](auto& content) { Handle(std::move(content)); }, message);
    }
    if (last) break;
  }
  Handle(End{ShuttingDown()});
}

void Delivery::Handle(DeliveryRequest request) {
  const RequestId id = request.id;
  Live live;
  live.num_open = static_cast<int>(request.sequences.size());
  for (std::size_t i = 0; i < request.sequences.size(); ++i) {
    Stream stream;
    stream.text = std::move(request.streams[i]);
    stream.delta.prompt_index = request.result.sequences[i].prompt_index;
    stream.delta.candidate_index = request.result.sequences[i].candidate_index;
    live.streams.push_back(std::move(stream));
    routes_[request.sequences[i]] = {id, static_cast<int>(i)};
  }
  live.request = std::move(request);
  live.request.sink->OnPrepared(live.request.result.images);
  live_.emplace(id, std::move(live));
}

void Delivery::Handle(Rejection rejection) {
  rejection.sink->OnDone(std::move(rejection.status), std::move(rejection.result));
  hooks_.on_ended(rejection.id);
}

void Delivery::Handle(Events events) {
  std::vector<RequestId> touched;
  for (StepEvent& event : events.events) {
    const auto route = routes_.find(event.sequence);
    if (route == routes_.end()) continue;
    touched.push_back(route->second.request);
    OnEvent(std::move(event), events.when);
  }
  for (const RequestId id : touched) {
    const auto it = live_.find(id);
    if (it == live_.end()) continue;
    Live& live = it->second;
    if (live.dirty) SendDeltas(&live);
    if (live.num_open == 0) EndRequest(id, live.status);
  }
}

void Delivery::Handle(End end) {
  std::vector<RequestId> ids;
  for (const auto& [id, live] : live_) ids.push_back(id);
  for (const RequestId id : ids) {
    const Live& live = live_.at(id);
    for (std::size_t i = 0; i < live.streams.size(); ++i) {
      if (!live.streams[i].ended) hooks_.cancel(live.request.sequences[i]);
    }
    EndRequest(id, end.status);
  }
}

void Delivery::OnEvent(StepEvent event, TimePoint when) {
  const Route route = routes_.at(event.sequence);
  Live* live = &live_.at(route.request);
  if (event.has_token) AddToken(live, route.index, event, when);
  if (event.finished) EndStream(live, route.index, event);
}

void Delivery::AddToken(Live* live, int index, const StepEvent& event, TimePoint when) {
  Stream& stream = live->streams[static_cast<std::size_t>(index)];
  RequestResult& result = live->request.result;
  if (!live->has_token) {
    live->has_token = true;
    live->first_token = when;
    result.timing.first_token = when - live->request.arrival;
    result.timing.queue = std::max(
        Duration::zero(), event.scheduled - live->request.arrival - result.timing.preprocess);
    result.timing.vision = event.vision;
    result.timing.prefill = event.prefill;
    if (result.usage.num_images > 0) {
      result.usage.cached_image_tokens =
          event.output.num_cached_images * (result.usage.image_tokens / result.usage.num_images);
    }
    hooks_.on_first_token(live->request.id);
  }
  live->last_token = when;
  if (stream.closed) return;
  SequenceResult& sequence = result.sequences[static_cast<std::size_t>(index)];
  ++sequence.num_generated;
  if (live->request.logprobs) sequence.sum_logprob += event.output.logprob;
  const bool is_eos = event.finished && event.finish == FinishReason::kStop;
  if (is_eos) return;
  Stream::HeldToken held;
  held.token = {event.output.token, event.output.logprob, event.output.top};
  held.start = stream.decoded_bytes;
  stream.held.push_back(std::move(held));
  Show(live, index, stream.text->Append(event.output.token));
  if (stream.closed && !event.finished) {
    hooks_.finish(live->request.sequences[static_cast<std::size_t>(index)], sequence.finish);
  }
}

// Takes new text in, and the tokens that it frees.
void Delivery::Show(Live* live, int index, TextUpdate update) {
  Stream& stream = live->streams[static_cast<std::size_t>(index)];
  SequenceResult& sequence = live->request.result.sequences[static_cast<std::size_t>(index)];
  stream.shown_bytes += static_cast<std::int64_t>(update.text.size());
  stream.decoded_bytes = stream.shown_bytes + update.num_held_bytes;
  sequence.text += update.text;
  stream.delta.text += update.text;
  // A token goes out with the first byte of its text; one without text, when nothing is held back.
  const bool all_shown = update.num_held_bytes == 0 && update.finish != FinishReason::kStop;
  std::size_t num_free = 0;
  while (num_free < stream.held.size() &&
         (all_shown || stream.held[num_free].start < stream.shown_bytes)) {
    TokenLogprob& token = stream.held[num_free].token;
    sequence.tokens.push_back(token.token);
    stream.delta.tokens.push_back(token.token);
    if (live->request.logprobs) {
      sequence.logprobs.push_back(token);
      stream.delta.logprobs.push_back(std::move(token));
    }
    ++num_free;
  }
  stream.held.erase(stream.held.begin(),
                    stream.held.begin() + static_cast<std::ptrdiff_t>(num_free));
  live->dirty = true;
  if (update.finish != FinishReason::kNone) {
    CloseStream(live, index, update.finish, update.matched_stop);
  }
}

void Delivery::CloseStream(Live* live, int index, FinishReason reason,
                           const std::string& matched_stop) {
  Stream& stream = live->streams[static_cast<std::size_t>(index)];
  SequenceResult& sequence = live->request.result.sequences[static_cast<std::size_t>(index)];
  stream.closed = true;
  stream.held.clear();
  sequence.finish = reason;
  sequence.matched_stop = matched_stop;
}

void Delivery::EndStream(Live* live, int index, const StepEvent& event) {
  Stream& stream = live->streams[static_cast<std::size_t>(index)];
  stream.ended = true;
  --live->num_open;
  routes_.erase(event.sequence);
  // A time budget that ends takes only the sequences with it that have nothing to show.
  stream.late = event.finish == FinishReason::kTimeBudget && !event.status.ok();
  if (!event.status.ok() && live->status.ok() && !stream.closed && !stream.late) {
    live->status = event.status;
    for (std::size_t i = 0; i < live->streams.size(); ++i) {
      if (!live->streams[i].ended) hooks_.cancel(live->request.sequences[i]);
    }
  }
  if (stream.closed) return;
  if (event.status.ok()) Show(live, index, stream.text->Flush());
  if (!stream.closed) CloseStream(live, index, event.finish, "");
  const bool all_late = std::all_of(live->streams.begin(), live->streams.end(),
                                    [](const Stream& other) { return other.late; });
  if (all_late && live->status.ok()) live->status = event.status;
}

void Delivery::SendDeltas(Live* live) {
  live->dirty = false;
  for (Stream& stream : live->streams) {
    RequestDelta& delta = stream.delta;
    if (delta.text.empty() && delta.tokens.empty()) continue;
    RequestDelta next;
    next.prompt_index = delta.prompt_index;
    next.candidate_index = delta.candidate_index;
    live->request.sink->OnDelta(std::exchange(delta, std::move(next)));
  }
}

void Delivery::EndRequest(RequestId id, Status status) {
  const auto it = live_.find(id);
  Live live = std::move(it->second);
  live_.erase(it);
  for (const SequenceId sequence : live.request.sequences) routes_.erase(sequence);
  RequestResult& result = live.request.result;
  for (const SequenceResult& sequence : result.sequences) {
    result.usage.output_tokens += sequence.num_generated;
  }
  RequestTiming& timing = result.timing;
  timing.total = clock_->Now() - live.request.arrival;
  if (live.has_token) {
    timing.decode = live.last_token - live.first_token;
  } else {
    timing.queue = std::max(Duration::zero(), timing.total - timing.preprocess);
  }
  if (status.reason() == Reason::kDeviceOutOfMemory) {
    status = std::move(status).WithRetryAfter(hooks_.retry_delay());
  }
  live.request.sink->OnDone(std::move(status), std::move(result));
  hooks_.on_ended(id);
}

}  // namespace paligemma
