// SPDX-License-Identifier: Apache-2.0
// Threads that run the events of completion queues, one queue each.
#ifndef SERVER_RPC_COMPLETION_THREADS_H_
#define SERVER_RPC_COMPLETION_THREADS_H_

#include <grpcpp/server_builder.h>

#include <memory>
#include <thread>
#include <vector>

namespace paligemma::rpc {

class CompletionThreads {
 public:
  // Adds the queues to `builder`; before BuildAndStart.
  CompletionThreads(grpc::ServerBuilder* builder, int num_threads);
  // Stops; the server must have been shut down.
  ~CompletionThreads();

  const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues() const {
    return queues_;
  }

  void Start();
  // Returns when the queues are empty. No call may be alive. Idempotent.
  void Stop();

 private:
  static void Loop(grpc::ServerCompletionQueue* queue);

  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_COMPLETION_THREADS_H_
