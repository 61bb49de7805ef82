// SPDX-License-Identifier: Apache-2.0
#include "server/net/acceptor.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace paligemma::net {
namespace {

constexpr int kAcceptedInTurn = 64;  // then connections that ended are looked at
constexpr int kEvents = 64;
// The wait before accepting again when nothing, not even the reserve, is left.
constexpr int kPauseMillis = 100;

Descriptor OpenReserve() { return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

std::string LimitText(Refusal refusal, const ConnectionBook::Limits& limits,
                      const std::optional<IpAddress>& client) {
  switch (refusal) {
    case Refusal::kAll:
      return "there are " + std::to_string(limits.all) + ", as many as --max-connections allows";
    case Refusal::kPeer:
      return client->Peer().ToString() + (client->is_v4() ? " has " : "/64 has ") +
             std::to_string(limits.per_peer) + ", as many as --max-connections-per-peer allows";
    case Refusal::kDescriptors:
      return "the process has no file descriptor left; lower --max-connections or raise the limit";
  }
  return "";
}

}  // namespace

StatusOr<std::unique_ptr<Acceptor>> Acceptor::Create(Listeners listeners, Options options) {
  std::unique_ptr<Acceptor> self(new Acceptor(std::move(listeners), std::move(options)));
  if (!self->epoll_.ok() || !self->wake_.ok() || !self->reserve_.ok()) {
    return Status(StatusCode::kUnavailable,
                  std::string("cannot accept connections: ") + std::strerror(errno));
  }
  return self;
}

Acceptor::Acceptor(Listeners listeners, Options options)
    : options_(std::move(options)),
      port_(listeners.port),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      reserve_(OpenReserve()),
      listeners_(std::move(listeners.sockets)),
      book_(options_.limits) {
  Heartbeat::Options asked;
  asked.ask = [this] { Wake(); };
  heartbeat_ = std::make_unique<Heartbeat>(options_.heartbeats, "pg-accept", std::move(asked));
}

Acceptor::~Acceptor() {
  StopListening();
  stopping_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Acceptor::Start() {
  Watch(wake_.get(), EPOLLIN);
  {
    MutexLock lock(&mutex_);
    for (const Descriptor& listener : listeners_) Watch(listener.get(), EPOLLIN);
  }
  thread_ = std::thread([this] { Run(); });
}

void Acceptor::StopListening() {
  MutexLock lock(&mutex_);
  listeners_.clear();
}

void Acceptor::Wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof(one));
}

bool Acceptor::Watch(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Acceptor::Listen(bool on) {
  for (const Descriptor& listener : listeners_) {
    epoll_event event{};
    if (on) event.events = EPOLLIN;
    event.data.fd = listener.get();
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener.get(), &event);
  }
  resume_.reset();
  if (!on) resume_ = Clock::Real()->Now() + std::chrono::milliseconds(kPauseMillis);
}

void Acceptor::Run() {
  pthread_setname_np(pthread_self(), "pg-accept");
  std::array<epoll_event, kEvents> events;
  while (!stopping_) {
    heartbeat_->Rest();
    const int count =
        epoll_wait(epoll_.get(), events.data(), kEvents, resume_.has_value() ? kPauseMillis : -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_.get()) {
        std::uint64_t value = 0;
        (void)!::read(fd, &value, sizeof(value));
      } else if (connections_.contains(fd)) {
        Forget(fd);
      } else {
        AcceptSome(fd);
      }
    }
    if (resume_.has_value() && Clock::Real()->Now() >= *resume_) {
      MutexLock lock(&mutex_);
      Listen(true);
    }
  }
}

void Acceptor::AcceptSome(int listener) {
  MutexLock lock(&mutex_);
  for (int i = 0; i < kAcceptedInTurn && !listeners_.empty(); ++i) {
    const Turn turn = AcceptOne(listener);
    if (turn == Turn::kPause) Listen(false);
    if (turn != Turn::kAccepted) return;
  }
}

Acceptor::Turn Acceptor::AcceptOne(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  Descriptor connection(::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (connection.ok()) {
    HandOver(std::move(connection), IpAddress::Of(address));
    return Turn::kAccepted;
  }
  switch (errno) {
    case EAGAIN:
      return Turn::kEmpty;
    case EMFILE:
    case ENFILE:
      return AcceptWithReserve(listener);
    case ENOBUFS:
    case ENOMEM:
      return Turn::kPause;
    default:  // a connection that ended before it was accepted, or a signal
      return Turn::kAccepted;
  }
}

Acceptor::Turn Acceptor::AcceptWithReserve(int listener) {
  if (!reserve_.ok()) reserve_ = OpenReserve();
  if (!reserve_.ok()) return Turn::kPause;
  reserve_.Close();
  Descriptor refused(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  const int error = refused.ok() ? 0 : errno;
  refused.Close();
  reserve_ = OpenReserve();
  if (error != 0) return error == EAGAIN ? Turn::kEmpty : Turn::kPause;
  Refuse(Refusal::kDescriptors, std::nullopt);
  return Turn::kAccepted;
}

void Acceptor::HandOver(Descriptor connection, const Client& client) {
  if (const auto refusal = book_.Enter(client); refusal.has_value()) {
    Refuse(*refusal, client);
    return;
  }
  Descriptor duplicate(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate.ok() || !Watch(duplicate.get(), 0)) {  // EPOLLHUP always comes
    book_.Leave(client);
    Refuse(Refusal::kDescriptors, client);
    return;
  }
  const int fd = duplicate.get();
  connections_.emplace(fd, Connection{std::move(duplicate), client});
  num_open_ = book_.num_open();
  options_.take(connection.Release());
}

void Acceptor::Forget(int duplicate) {
  const auto found = connections_.find(duplicate);
  book_.Leave(found->second.client);
  connections_.erase(found);
  num_open_ = book_.num_open();
}

void Acceptor::Refuse(Refusal refusal, const Client& client) {
  options_.on_refused(refusal);
  Warnings& warnings = warnings_[static_cast<std::size_t>(refusal)];
  const TimePoint now = Clock::Real()->Now();
  if (warnings.last.has_value() && now - *warnings.last < options_.warn_interval) {
    ++warnings.unsaid;
    return;
  }
  std::string text = "closed a connection at once: " + LimitText(refusal, options_.limits, client);
  if (warnings.unsaid > 0) {
    text += "; " + std::to_string(warnings.unsaid) + " more since the last such line";
  }
  warnings = {now, 0};
  options_.warn(text);
}

}  // namespace paligemma::net
