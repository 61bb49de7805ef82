// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/completion_threads.h"

#include <pthread.h>

#include <string>

#include "server/rpc/call.h"

namespace paligemma::rpc {

CompletionThreads::Pulse::Pulse(Heartbeats* heartbeats, const std::string& name,
                                grpc::ServerCompletionQueue* queue)
    : heartbeat(heartbeats, name, {.essential = true, .ask = [this, queue] {
                                     alarm.Set(queue, std::chrono::system_clock::now(), this);
                                   }}) {}

CompletionThreads::CompletionThreads(grpc::ServerBuilder* builder, int num_threads,
                                     Heartbeats* heartbeats)
    : heartbeats_(heartbeats) {
  for (int i = 0; i < num_threads; ++i) queues_.push_back(builder->AddCompletionQueue());
}

CompletionThreads::~CompletionThreads() { Stop(); }

void CompletionThreads::Start() {
  for (size_t i = 0; i < queues_.size(); ++i) {
    const std::string name = "pg-grpc-" + std::to_string(i);
    pulses_.push_back(std::make_unique<Pulse>(heartbeats_, name, queues_[i].get()));
    threads_.emplace_back(Loop, queues_[i].get(), pulses_.back().get());
    pthread_setname_np(threads_.back().native_handle(), name.c_str());
  }
}

void CompletionThreads::Stop() {
  if (stopped_) return;
  stopped_ = true;
  // A queue that is being shut down must not be given an alarm.
  for (const auto& pulse : pulses_) pulse->heartbeat.Withdraw();
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  if (!threads_.empty()) return;
  for (const auto& queue : queues_) Loop(queue.get(), nullptr);  // never started: empty them here
}

void CompletionThreads::Loop(grpc::ServerCompletionQueue* queue, Pulse* pulse) {
  void* raw = nullptr;
  bool ok = false;
  while (queue->Next(&raw, &ok)) {
    if (raw == pulse) {
      pulse->heartbeat.Rest();
      continue;
    }
    const std::unique_ptr<Call::Tag> tag(static_cast<Call::Tag*>(raw));
    tag->call->Run(tag->event, ok);
  }
}

}  // namespace paligemma::rpc
