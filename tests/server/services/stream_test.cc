// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "tests/server/services/test_server.h"

namespace paligemma {
namespace {

using StreamTest = ServerTest;

AnswerDelta Text(const std::string& text) {
  AnswerDelta delta;
  delta.text = text;
  delta.tokens = {10};
  return delta;
}

TEST_F(StreamTest, DeltasThenOneResult) {
  BecomeReady();
  std::thread engine([this] {
    auto pending = backend_->Take();
    for (const char* word : {"a ", "few ", "words"}) pending.sink->OnDelta(Text(word));
    pending.sink->OnDone(OkStatus(), TextResult("a few words"));
  });
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  std::string text;
  int num_tokens = 0, num_results = 0;
  v1::StreamGenerateResponse message;
  while (reader->Read(&message)) {
    EXPECT_EQ(num_results, 0) << "the result is last";
    text += message.delta().text();
    num_tokens += message.delta().token_count();
    num_results += message.has_result();
  }
  engine.join();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text, "a few words");
  EXPECT_EQ(num_tokens, 3);
  EXPECT_EQ(num_results, 1);
  EXPECT_EQ(message.result().generate().candidates(0).text(), "a few words");
}

TEST_F(StreamTest, ObjectsComeAsTheyAreComplete) {
  BecomeReady();
  std::thread engine([this] {
    auto pending = backend_->Take();
    Object object;
    object.label = "a";
    object.pixel_box = {0, 0, 4, 4};
    AnswerDelta delta;
    delta.tokens = {10};
    delta.objects = {object};
    pending.sink->OnDelta(delta);
    Answer result = TextResult("");
    result.candidates[0].objects = {object};
    pending.sink->OnDone(OkStatus(), std::move(result));
  });
  v1::StreamGenerateRequest request;
  auto* detect = request.mutable_task()->mutable_detect();
  detect->mutable_image()->set_content(
      "an encoded picture, whose size is known once it is decoded");
  detect->add_labels("a");
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(message.has_object());
  EXPECT_EQ(message.object().object().label(), "a");
  EXPECT_EQ(message.object().object().pixel_box().x_max(), 4);
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.result().detect().objects_size(), 1);
  EXPECT_FALSE(reader->Read(&message));
  engine.join();
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(StreamTest, WhatIsTooLargeEndsBehindTheObjectsBeforeIt) {
  BecomeReady();
  v1::StreamGenerateRequest request;
  auto* segment = request.mutable_task()->mutable_segment();
  segment->mutable_image()->set_content("bytes");
  segment->add_labels("a");
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  auto pending = backend_->Take();
  EXPECT_TRUE(pending.request.streamed);
  EXPECT_EQ(pending.request.mask.encoding, MaskEncoding::kPng);
  AnswerDelta delta;
  delta.objects.resize(1);
  delta.objects[0].label = std::string(100'000, 'x');
  constexpr int kObjects = 8;  // more than the connection takes unread
  for (int i = 0; i < kObjects; ++i) pending.sink->OnDelta(delta);
  pending.sink->OnDone(Status(StatusCode::kResourceExhausted, Reason::kResponseTooLarge, "large",
                              {{"field", "mask_extent"}}),
                       Answer());
  pending.sink.reset();
  v1::StreamGenerateResponse message;
  int num_objects = 0;
  while (reader->Read(&message)) {
    EXPECT_EQ(message.object().object_index(), num_objects);
    ++num_objects;
  }
  EXPECT_EQ(num_objects, kObjects);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(ReasonOf(status), "RESPONSE_TOO_LARGE");
  EXPECT_EQ(InfoOfError(status).metadata().at("field"), "task.segment.mask_extent");
}

TEST_F(StreamTest, ACancelReachesTheEngine) {
  BecomeReady();
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  backend_->WaitForRequest();
  context.TryCancel();
  v1::StreamGenerateResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  backend_->WaitForCancel();
}

TEST_F(StreamTest, WhoDoesNotReadIsCutOff) {
  BecomeReady();
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  std::shared_ptr<ResponseSink> sink = backend_->Take().sink;
  for (int i = 0; i < 400; ++i) sink->OnDelta(Text(std::string(64 << 10, 'x')));
  sink->OnDone(OkStatus(), TextResult(""));
  v1::StreamGenerateResponse message;
  size_t bytes = 0;
  while (reader->Read(&message)) {
    bytes += message.delta().text().size();
    EXPECT_FALSE(message.has_result());
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "SLOW_CONSUMER");
  EXPECT_LT(bytes, size_t{400} << 16);
}

TEST_F(StreamTest, DeltasThatWaitForTheReaderBecomeOne) {
  BecomeReady();
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  // The client takes the least that gRPC allows before it is asked to read.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 10);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const auto stub = v1::PaliGemmaService::NewStub(
      grpc::CreateCustomChannel(Target(), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  const auto reader = stub->StreamGenerate(&context, request);
  std::shared_ptr<ResponseSink> sink = backend_->Take().sink;
  // The first ones fill the connection, the others wait behind them.
  constexpr int kLarge = 8, kSmall = 100;
  for (int i = 0; i < kLarge; ++i) sink->OnDelta(Text(std::string(100'000, 'x')));
  for (int i = 0; i < kSmall; ++i) sink->OnDelta(Text("y"));
  sink->OnDone(OkStatus(), TextResult("z"));
  sink.reset();
  v1::StreamGenerateResponse message;
  size_t bytes = 0;
  int num_messages = 0, num_tokens = 0;
  while (reader->Read(&message)) {
    ++num_messages;
    bytes += message.delta().text().size();
    num_tokens += message.delta().token_count();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(bytes, kLarge * 100'000u + kSmall);
  EXPECT_EQ(num_tokens, kLarge + kSmall);
  EXPECT_LT(num_messages, kLarge + kSmall);
}

TEST_F(StreamTest, AnErrorOfPreprocessingNamesTheFieldInsideTheTask) {
  BecomeReady();
  std::thread engine([this] {
    backend_->Take().sink->OnDone(
        Status(StatusCode::kInvalidArgument, Reason::kImageCorrupt, "images[0].content: is damaged",
               {{"field", "images[0].content"}}),
        Answer());
  });
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  EXPECT_FALSE(reader->Read(&message));
  engine.join();
  EXPECT_EQ(InfoOfError(reader->Finish()).metadata().at("field"),
            "task.generate.images[0].content");
}

TEST_F(StreamTest, AnErrorEndsTheStreamWithoutAResult) {
  BecomeReady();
  std::thread engine([this] {
    auto pending = backend_->Take();
    pending.sink->OnDelta(Text("half"));
    pending.sink->OnDone(Status(StatusCode::kInternal, Reason::kNumericFault, "NaN"), Answer());
  });
  v1::StreamGenerateRequest request;
  *request.mutable_task()->mutable_generate() = GoodRequest();
  grpc::ClientContext context;
  const auto reader = stub_->StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  while (reader->Read(&message)) EXPECT_FALSE(message.has_result());
  engine.join();
  EXPECT_EQ(ReasonOf(reader->Finish()), "NUMERIC_FAULT");
}

}  // namespace
}  // namespace paligemma
