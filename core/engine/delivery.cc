// SPDX-License-Identifier: Apache-2.0
#include "core/engine/delivery.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/request/endings.h"

namespace paligemma {
namespace {

bool LacksMask(const Answer& result) {
  for (const Candidate& candidate : result.candidates) {
    for (const Object& object : candidate.objects) {
      if (MaskMaker::Lacks(object)) return true;
    }
  }
  return false;
}

}  // namespace

Delivery::Delivery(const Options& options, Hooks hooks, const Clock* clock)
    : options_(options),
      hooks_(std::move(hooks)),
      clock_(clock),
      heartbeat_(options.heartbeats, "pg-delivery"),
      pool_(std::make_unique<PostprocessPool>(options.num_postprocess_threads, options.heartbeats)),
      thread_([this] { Loop(); }) {}

Delivery::~Delivery() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
  pool_.reset();
}

void Delivery::Begin(DeliveryRequest request) { Push(std::move(request)); }

void Delivery::Reject(RequestId id, std::shared_ptr<ResponseSink> sink, Status status,
                      Answer result) {
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
    heartbeat_.Expect();
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
      if (messages_.empty()) heartbeat_.Rest();
      while (messages_.empty() && !stopping_) work_.Wait(&mutex_);
      std::swap(messages, messages_);
      last = messages.empty();
    }
    for (Message& message : messages) {
      std::visit([this](auto& content) { Handle(std::move(content)); }, message);
      heartbeat_.Beat();
    }
    if (last) break;
  }
  Handle(End{DrainingStatus()});
}

void Delivery::Handle(DeliveryRequest request) {
  const RequestId id = request.id;
  auto live = std::make_unique<Live>();
  live->request = std::move(request);
  live->num_open = static_cast<int>(live->request.outputs.size());
  live->outputs.resize(live->request.outputs.size());
  for (std::size_t i = 0; i < live->outputs.size(); ++i) {
    Output& output = live->outputs[i];
    output.sequence = live->request.outputs[i].sequence;
    output.reader = std::move(live->request.outputs[i].reader);
    output.result = &live->request.result.candidates[i];
    output.delta.prompt_index = output.result->prompt_index;
    output.delta.candidate_index = output.result->candidate_index;
    routes_[output.sequence] = {live.get(), &output};
  }
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
    const auto [live, output] = route->second;
    touched.push_back(live->request.id);
    if (event.has_token) {
      BookToken(live, event, events.when);
      if (!output->closed) AddToken(live, output, &event);
    }
    if (event.finished) EndOutput(live, output, event);
  }
  for (const RequestId id : touched) {
    const auto it = live_.find(id);
    if (it == live_.end()) continue;
    Live* const live = it->second.get();
    if (live->dirty) SendDeltas(live);
    if (live->num_open == 0) EndRequest(id, live->status);
  }
}

void Delivery::Handle(End end) {
  std::vector<RequestId> ids;
  for (const auto& [id, live] : live_) ids.push_back(id);
  for (const RequestId id : ids) {
    CancelOpen(*live_.at(id));
    EndRequest(id, end.status);
  }
}

void Delivery::BookToken(Live* live, const StepEvent& event, TimePoint when) {
  live->last_token = when;
  if (std::exchange(live->has_token, true)) return;
  live->first_token = when;
  Answer& result = live->request.result;
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

void Delivery::AddToken(Live* live, Output* output, StepEvent* event) {
  Candidate& candidate = *output->result;
  ++candidate.num_generated;
  if (live->request.logprobs) candidate.sum_logprob += event->output.logprob;
  const bool is_eos = event->finished && event->finish == FinishReason::kStop;
  if (is_eos) return;
  Take(live, output,
       output->reader->Append(
           {event->output.token, event->output.logprob, std::move(event->output.top)}));
  if (output->closed && !event->finished) hooks_.finish(output->sequence, candidate.finish);
}

// Adds what was read to the sequence's result and to this round's delta.
void Delivery::Take(Live* live, Output* output, AnswerEvent event) {
  Candidate& candidate = *output->result;
  candidate.text += event.text;
  output->delta.text += event.text;
  for (TokenLogprob& token : event.tokens) {
    candidate.tokens.push_back(token.token);
    output->delta.tokens.push_back(token.token);
    if (!live->request.logprobs) continue;
    candidate.logprobs.push_back(token);
    output->delta.logprobs.push_back(std::move(token));
  }
  const bool sends_objects = live->request.streams_objects && candidate.prompt_index == 0;
  if (sends_objects) {
    output->delta.objects.insert(output->delta.objects.end(), event.objects.begin(),
                                 event.objects.end());
  }
  std::move(event.objects.begin(), event.objects.end(), std::back_inserter(candidate.objects));
  candidate.num_dropped_objects = output->reader->num_dropped_objects();
  live->dirty = true;
  if (event.finish == FinishReason::kNone) return;
  output->closed = true;
  candidate.finish = event.finish;
  candidate.matched_stop = std::move(event.matched_stop);
}

void Delivery::EndOutput(Live* live, Output* output, const StepEvent& event) {
  output->ended = true;
  --live->num_open;
  routes_.erase(event.sequence);
  // A time budget that ends takes only the sequences with it that have nothing to show.
  output->late = event.finish == FinishReason::kTimeBudget && !event.status.ok();
  if (!event.status.ok() && live->status.ok() && !output->closed && !output->late) {
    live->status = event.status;
    CancelOpen(*live);
  }
  if (output->closed) return;
  if (event.status.ok()) Take(live, output, output->reader->Finish(event.finish));
  if (!output->closed) {
    output->closed = true;
    output->result->finish = event.finish;
  }
  const bool all_late = std::all_of(live->outputs.begin(), live->outputs.end(),
                                    [](const Output& other) { return other.late; });
  if (all_late && live->status.ok()) live->status = event.status;
}

void Delivery::CancelOpen(const Live& live) {
  for (const Output& output : live.outputs) {
    if (!output.ended) hooks_.cancel(output.sequence);
  }
}

void Delivery::SendDeltas(Live* live) {
  live->dirty = false;
  for (Output& output : live->outputs) {
    AnswerDelta& delta = output.delta;
    if (delta.text.empty() && delta.tokens.empty() && delta.objects.empty()) continue;
    AnswerDelta next;
    next.prompt_index = delta.prompt_index;
    next.candidate_index = delta.candidate_index;
    Send(live, std::exchange(delta, std::move(next)));
  }
}

void Delivery::Send(Live* live, AnswerDelta delta) {
  const bool lacks_mask =
      std::any_of(delta.objects.begin(), delta.objects.end(), &MaskMaker::Lacks);
  if (!lacks_mask && live->sender == nullptr) {
    live->request.sink->OnDelta(std::move(delta));
    return;
  }
  // Text first, then one object at a time: each leaves as soon as its mask is rendered.
  std::vector<Object> objects = std::exchange(delta.objects, {});
  const AnswerDelta place{delta.prompt_index, delta.candidate_index, {}, {}, {}, {}};
  AnswerSender* const sender = SenderOf(live);
  if (!delta.text.empty() || !delta.tokens.empty()) sender->Send(std::move(delta));
  for (Object& object : objects) {
    AnswerDelta own = place;
    own.objects.push_back(std::move(object));
    sender->Send(std::move(own));
  }
}

// Sends the objects that waited for those of earlier prompts.
void Delivery::SendLateObjects(Live* live) {
  for (const Output& output : live->outputs) {
    const Candidate& candidate = *output.result;
    if (candidate.prompt_index == 0 || candidate.objects.empty()) continue;
    AnswerDelta delta;
    delta.prompt_index = candidate.prompt_index;
    delta.candidate_index = candidate.candidate_index;
    delta.objects = candidate.objects;
    Send(live, std::move(delta));
  }
}

void Delivery::EndRequest(RequestId id, Status status) {
  const auto it = live_.find(id);
  const std::unique_ptr<Live> live = std::move(it->second);
  live_.erase(it);
  for (const Output& output : live->outputs) routes_.erase(output.sequence);
  if (status.ok() && live->request.streams_objects) SendLateObjects(live.get());
  Answer& result = live->request.result;
  for (const Candidate& candidate : result.candidates) {
    result.usage.output_tokens += candidate.num_generated;
  }
  RequestTiming& timing = result.timing;
  timing.total = clock_->Now() - live->request.arrival;
  if (live->has_token) {
    timing.decode = live->last_token - live->first_token;
  } else {
    timing.queue = std::max(Duration::zero(), timing.total - timing.preprocess);
  }
  if (status.reason() == Reason::kDeviceOutOfMemory) {
    status = std::move(status).WithRetryAfter(hooks_.retry_delay());
  }
  if (live->sender == nullptr && !(status.ok() && LacksMask(result))) {
    live->request.sink->OnDone(std::move(status), std::move(result));
    hooks_.on_ended(id);
    return;
  }
  SenderOf(live.get())->End(std::move(status), std::move(result));
}

// Makes the sender with the first mask; from then on everything goes through it.
AnswerSender* Delivery::SenderOf(Live* live) {
  if (live->sender != nullptr) return live->sender.get();
  const DeliveryRequest& request = live->request;
  std::vector<SequenceId> sequences;
  for (const Output& output : live->outputs) sequences.push_back(output.sequence);
  AnswerSender::Options options;
  options.pool = pool_.get();
  options.clock = clock_;
  options.sink = request.sink;
  options.cancellation = request.cancellation;
  options.arrival = request.arrival;
  options.deadline = request.deadline;
  options.cancel = [this, sequences] {
    for (const SequenceId sequence : sequences) hooks_.cancel(sequence);
  };
  options.on_ended = [this, id = request.id] { hooks_.on_ended(id); };
  const ImageInfo image =
      request.result.images.empty() ? ImageInfo() : request.result.images.front();
  live->sender = std::make_shared<AnswerSender>(
      std::move(options),
      MaskMaker(options_.mask_decoder, request.mask, image, options_.max_mask_pixels));
  return live->sender.get();
}

}  // namespace paligemma
