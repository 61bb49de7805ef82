// SPDX-License-Identifier: Apache-2.0
// One connection of the HTTP server, and the table that bounds how many there are. Private to this
// folder: it shows Boost's types.
#ifndef SERVER_HTTP_CONNECTION_H_
#define SERVER_HTTP_CONNECTION_H_

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "server/http/http_server.h"

namespace paligemma::http {

class Connection;

// The connections of one server, those that were answered longest ago first. For the I/O thread.
class ConnectionTable {
 public:
  using Place = std::list<Connection*>::iterator;

  Place Add(Connection* connection) { return connections_.insert(connections_.end(), connection); }
  void Remove(Place place) { connections_.erase(place); }
  // Notes that a connection has been answered.
  void Renew(Place place) { connections_.splice(connections_.end(), connections_, place); }
  std::size_t size() const { return connections_.size(); }

  // Closes the first connection that waits for its client. Returns false if there is none.
  bool CloseOldest();

 private:
  std::list<Connection*> connections_;
};

// Reads requests and writes their responses, one after the other. Lives as long as an operation on
// its socket or an answer to it is under way. All methods run on the I/O thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Finish = std::function<void(Response)>;  // to be called once, on the I/O thread
  // Answers a request, at once or later.
  using Answer = std::function<void(bool is_read, Request, Finish)>;

  // `table`, `answer` and `limits` must outlive the connection.
  Connection(boost::asio::ip::tcp::socket socket, ConnectionTable* table, const Answer* answer,
             const Limits* limits);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for the first byte of the next request.
  void Await();

  // Returns true while the client must act: send a request, or notice the connection's end.
  bool waits_for_client() const { return waits_for_client_; }
  void Close();

 private:
  using StringBody = boost::beast::http::string_body;

  void Read();
  void OnRequest();
  void OnReadError(boost::beast::error_code error);
  void Refuse(int status, std::string text);
  void Send(Response response);
  void OnSent(boost::beast::error_code error);
  void Linger();
  void Discard();

  ConnectionTable* const table_;
  const Answer* const answer_;
  const Limits* const limits_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<StringBody>> parser_;
  std::optional<boost::beast::http::response<StringBody>> response_;
  bool is_head_ = false, keep_alive_ = false;
  bool waits_for_client_ = true;
  const ConnectionTable::Place place_;
};

}  // namespace paligemma::http

#endif  // SERVER_HTTP_CONNECTION_H_
