// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/call.h"

namespace paligemma::rpc {

void CallRegistry::Add(Call* call) {
  MutexLock lock(&mutex_);
  calls_.insert(call);
}

void CallRegistry::Remove(Call* call) {
  MutexLock lock(&mutex_);
  calls_.erase(call);
  if (calls_.empty()) changed_.NotifyAll();
}

void CallRegistry::CancelAll() {
  MutexLock lock(&mutex_);
  for (Call* const call : calls_) call->TryCancel();
}

void CallRegistry::ArmUnlessStopping(const std::function<void()>& arm) {
  MutexLock lock(&arming_mutex_);
  if (!stopping_) arm();
}

void CallRegistry::StopArming() {
  MutexLock lock(&arming_mutex_);
  stopping_ = true;
}

void CallRegistry::WaitForNone() {
  MutexLock lock(&mutex_);
  while (!calls_.empty()) changed_.Wait(&mutex_);
}

std::string Call::Metadata(const std::string& key) const {
  const auto& metadata = context_.client_metadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.length());
}

void Call::OnCancel(std::function<void()> callback) {
  {
    MutexLock lock(&cancel_mutex_);
    if (!cancelled_) {
      on_cancel_ = std::move(callback);
      return;
    }
  }
  callback();
}

void Call::ExpectDone() {
  done_tag_ = NewTag(Event::kDone);
  context_.AsyncNotifyWhenDone(done_tag_);
}

void Call::Run(Event event, bool ok) {
  if (event == Event::kArrived) {
    if (ok) {
      arrived_ = true;
      OnArrived();
    } else {
      delete done_tag_;  // a call that never arrived never ends
    }
    return;
  }
  if (event != Event::kDone) {
    OnEvent(event, ok);
    return;
  }
  std::function<void()> callback;
  {
    MutexLock lock(&cancel_mutex_);
    cancelled_ = context_.IsCancelled();
    callback.swap(on_cancel_);
    if (!cancelled_) callback = nullptr;
  }
  if (callback) callback();
}

}  // namespace paligemma::rpc
