// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/call.h"

namespace paligemma::rpc {

void CallCounter::Add() {
  MutexLock lock(&mutex_);
  ++num_calls_;
}

void CallCounter::Remove() {
  MutexLock lock(&mutex_);
  if (--num_calls_ == 0) changed_.NotifyAll();
}

void CallCounter::ArmUnlessStopping(const std::function<void()>& arm) {
  MutexLock lock(&arming_mutex_);
  if (!stopping_) arm();
}

void CallCounter::StopArming() {
  MutexLock lock(&arming_mutex_);
  stopping_ = true;
}

bool CallCounter::WaitForNone(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(&mutex_);
  while (num_calls_ > 0) {
    if (!changed_.WaitUntil(&mutex_, deadline) && num_calls_ > 0) return false;
  }
  return true;
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
