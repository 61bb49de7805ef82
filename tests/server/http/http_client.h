// SPDX-License-Identifier: Apache-2.0
// A client of the loopback interface that sends what a test wants, well formed or not.
#ifndef TESTS_SERVER_HTTP_HTTP_CLIENT_H_
#define TESTS_SERVER_HTTP_HTTP_CLIENT_H_

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace paligemma::testing {

// One connection. Reads give up after ten seconds, and then return what has come.
class HttpClient {
 public:
  HttpClient() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  explicit HttpClient(int port) : HttpClient() { Connect(port); }
  HttpClient(HttpClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~HttpClient() {
    if (fd_ >= 0) close(fd_);
  }

  bool Connect(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }

  // Returns false if the connection has ended.
  bool Send(std::string_view bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  // Returns what comes until `end` has come or the connection has ended.
  std::string ReadUntil(std::string_view end) {
    std::string answer;
    char buffer[4096];
    while (end.empty() || answer.find(end) == std::string::npos) {
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      if (size <= 0) break;
      answer.append(buffer, static_cast<std::size_t>(size));
    }
    return answer;
  }
  std::string ReadAll() { return ReadUntil(""); }

  // Waits up to `patience` for something to read. Returns false if nothing came.
  bool Wait(std::chrono::milliseconds patience) {
    pollfd ready{fd_, POLLIN, 0};
    return poll(&ready, 1, static_cast<int>(patience.count())) > 0;
  }

  // Returns true if the server has closed the connection and sent nothing before.
  bool IsClosed() {
    char byte;
    const ssize_t size = recv(fd_, &byte, 1, 0);
    return size == 0 || (size < 0 && errno == ECONNRESET);
  }

 private:
  int fd_;
};

// Returns the whole answer to one GET.
inline std::string Get(int port, const std::string& path) {
  HttpClient client(port);
  client.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return client.ReadAll();
}

}  // namespace paligemma::testing

#endif  // TESTS_SERVER_HTTP_HTTP_CLIENT_H_
