// SPDX-License-Identifier: Apache-2.0
#include "server/http/connection.h"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

namespace paligemma::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using beast::error_code;

// Bytes that are asked for while nothing is known of a request: what idle connections cost.
constexpr std::size_t kFirstRead = 512;
// How long a client that was refused may take to stop sending: a connection that is closed while
// bytes come in is reset, and the client may lose the refusal.
constexpr std::chrono::seconds kLingerTime{1};

}  // namespace

bool ConnectionTable::CloseOldest() {
  const auto oldest = std::find_if(connections_.begin(), connections_.end(),
                                   [](Connection* c) { return c->waits_for_client(); });
  if (oldest == connections_.end()) return false;
  (*oldest)->Close();
  return true;
}

Connection::Connection(asio::ip::tcp::socket socket, ConnectionTable* table, const Answer* answer,
                       const Limits* limits)
    : table_(table),
      answer_(answer),
      limits_(limits),
      stream_(std::move(socket)),
      buffer_(limits->max_header_bytes + kFirstRead),
      place_(table->Add(this)) {}

Connection::~Connection() { table_->Remove(place_); }

void Connection::Close() {
  waits_for_client_ = false;  // is not to be closed again before its operation has noticed
  stream_.close();
}

void Connection::Await() {
  waits_for_client_ = true;
  response_.reset();
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(limits_->max_header_bytes));
  parser_->body_limit(limits_->max_body_bytes);
  if (buffer_.size() > 0) {  // the client did not wait for the last response
    Read();
    return;
  }
  stream_.expires_after(limits_->idle_time);
  stream_.async_read_some(buffer_.prepare(kFirstRead),
                          [self = shared_from_this()](error_code error, std::size_t size) {
                            if (error) return;
                            self->buffer_.commit(size);
                            self->Read();
                          });
}

void Connection::Read() {
  stream_.expires_after(limits_->request_time);  // for all of it: dripping bytes win no time
  beast::http::async_read(stream_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, std::size_t /*size*/) {
                            if (error) {
                              self->OnReadError(error);
                            } else {
                              self->OnRequest();
                            }
                          });
}

void Connection::OnReadError(error_code error) {
  using HttpError = beast::http::error;
  if (error == HttpError::header_limit || error == HttpError::buffer_overflow) {
    Refuse(431,
           "the header is longer than " + std::to_string(limits_->max_header_bytes) + " bytes\n");
  } else if (error == HttpError::body_limit) {
    Refuse(413, "the body is longer than " + std::to_string(limits_->max_body_bytes) + " bytes\n");
  } else if (error.category() == make_error_code(HttpError::bad_method).category() &&
             error != HttpError::end_of_stream && error != HttpError::partial_message) {
    Refuse(400, "this is no HTTP/1.1 request: " + error.message() + "\n");
  }
}

void Connection::OnRequest() {
  waits_for_client_ = false;
  const auto& message = parser_->get();
  is_head_ = message.method() == beast::http::verb::head;
  keep_alive_ = message.keep_alive();
  const bool is_read = is_head_ || message.method() == beast::http::verb::get;
  Request request;
  const beast::string_view target = message.target();
  request.path = std::string(target.substr(0, target.find('?')));
  request.body = parser_->release().body();
  (*answer_)(is_read, std::move(request),
             [self = shared_from_this()](Response response) { self->Send(std::move(response)); });
}

void Connection::Refuse(int status, std::string text) {
  is_head_ = keep_alive_ = false;
  Send({status, Response().type, std::move(text)});
}

void Connection::Send(Response response) {
  if (!stream_.socket().is_open()) return;
  auto& message = response_.emplace();
  message.result(static_cast<unsigned>(response.status));
  message.set(beast::http::field::content_type, response.type);
  message.set(beast::http::field::cache_control, "no-store");
  if (response.status == 405) message.set(beast::http::field::allow, "GET, HEAD");
  message.keep_alive(keep_alive_);
  message.content_length(response.body.size());
  if (!is_head_) message.body() = std::move(response.body);
  stream_.expires_after(limits_->request_time);
  beast::http::async_write(
      stream_, message,
      [self = shared_from_this()](error_code error, std::size_t /*size*/) { self->OnSent(error); });
}

void Connection::OnSent(error_code error) {
  if (error) return;
  table_->Renew(place_);
  if (keep_alive_) {
    Await();
  } else {
    Linger();
  }
}

void Connection::Linger() {
  waits_for_client_ = true;
  error_code ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLingerTime);
  Discard();
}

void Connection::Discard() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(limits_->max_header_bytes),
                          [self = shared_from_this()](error_code error, std::size_t /*size*/) {
                            if (!error) self->Discard();
                          });
}

}  // namespace paligemma::http
