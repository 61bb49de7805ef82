// SPDX-License-Identifier: Apache-2.0
// Threads that run the events of completion queues, one queue each.
#ifndef SERVER_RPC_COMPLETION_THREADS_H_
#define SERVER_RPC_COMPLETION_THREADS_H_

#include <grpcpp/alarm.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/heartbeat.h"

namespace paligemma::rpc {

class CompletionThreads {
 public:
  // Adds the queues to `builder`. Call it before BuildAndStart(). `heartbeats` may be null; it must
  // outlive the threads.
  CompletionThreads(grpc::ServerBuilder* builder, int num_threads, Heartbeats* heartbeats);
  // Stops the threads. REQUIRES: the server was shut down.
  ~CompletionThreads();

  const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues() const {
    return queues_;
  }

  void Start();
  // Waits until the queues are empty. Idempotent. REQUIRES: no call is alive.
  void Stop();

 private:
  // A thread that waits inside gRPC is asked by an event on its queue.
  struct Pulse {
    Pulse(Heartbeats* heartbeats, const std::string& name, grpc::ServerCompletionQueue* queue);
    grpc::Alarm alarm;
    Heartbeat heartbeat;
  };

  static void Loop(grpc::ServerCompletionQueue* queue, Pulse* pulse);

  Heartbeats* const heartbeats_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Pulse>> pulses_;
  std::vector<std::thread> threads_;
};

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_COMPLETION_THREADS_H_
