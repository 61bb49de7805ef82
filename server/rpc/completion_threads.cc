// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/completion_threads.h"

#include <pthread.h>

#include <string>

#include "server/rpc/call.h"

namespace paligemma::rpc {

CompletionThreads::CompletionThreads(grpc::ServerBuilder* builder, int num_threads) {
  for (int i = 0; i < num_threads; ++i) queues_.push_back(builder->AddCompletionQueue());
}

CompletionThreads::~CompletionThreads() { Stop(); }

void CompletionThreads::Start() {
  for (size_t i = 0; i < queues_.size(); ++i) {
    threads_.emplace_back(Loop, queues_[i].get());
    pthread_setname_np(threads_.back().native_handle(), ("pg-grpc-" + std::to_string(i)).c_str());
  }
}

void CompletionThreads::Stop() {
  if (stopped_) return;
  stopped_ = true;
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  if (!threads_.empty()) return;
  for (const auto& queue : queues_) Loop(queue.get());  // never started: empty them here
}

void CompletionThreads::Loop(grpc::ServerCompletionQueue* queue) {
  void* raw = nullptr;
  bool ok = false;
  while (queue->Next(&raw, &ok)) {
    const std::unique_ptr<Call::Tag> tag(static_cast<Call::Tag*>(raw));
    tag->call->Run(tag->event, ok);
  }
}

}  // namespace paligemma::rpc
