// SPDX-License-Identifier: Apache-2.0
#include "core/host/model_host.h"

#include <gmock/gmock.h>

#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"
#include "tests/testing/test_manifest.h"

namespace paligemma {
namespace {

constexpr char kDirectory[] = "";

class ModelHostTest : public ::testing::Test {
 protected:
  void Start() {
    Dispatcher::Parts parts;
    parts.runner = std::make_unique<FakeModelRunner>(FakeModelRunner::Options());
    parts.preprocessor = std::make_unique<FakePreprocessor>();
    parts.vocabulary = FakeVocabulary();
    ModelSummary summary;
    summary.cpu_isa = "avx2";
    host_.Start(std::move(parts), summary);
  }

  static Request Good() {
    Request request;
    request.text = "a prompt";
    request.images.emplace_back().encoded = "bytes";
    request.max_tokens = 3;
    return request;
  }

  ModelHost host_{kDirectory, TestManifest(), HostOptions(), nullptr};
  std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
};

TEST_F(ModelHostTest, RefusesRequestsUntilTheModelIsThere) {
  EXPECT_EQ(host_.Submit(Good(), sink_).status().reason(), Reason::kModelLoading);
  Start();
  EXPECT_EQ(host_.Summary().cpu_isa, "avx2");
  ASSERT_TRUE(host_.Submit(Good(), sink_).ok());
  EXPECT_TRUE(sink_->Await().first.ok());
}

TEST_F(ModelHostTest, HoldsRequestsAgainstTheRulesBeforeTheEngineSeesThem) {
  Start();
  Request request = Good();
  request.num_candidates = 0;
  EXPECT_EQ(host_.Submit(std::move(request), sink_).status().reason(), Reason::kFieldInvalid);
  request = Good();
  request.images[0].encoded = std::string(host_.options().image_limits.max_bytes + 1, 'x');
  EXPECT_EQ(host_.Submit(std::move(request), sink_).status().reason(), Reason::kImageTooLarge);
  request = Good();
  request.model = "models/other";
  EXPECT_EQ(host_.Submit(std::move(request), sink_).status().reason(), Reason::kModelNotFound);
  request = Good();
  request.model = host_.name();
  EXPECT_TRUE(host_.Submit(std::move(request), sink_).ok());
  EXPECT_TRUE(sink_->Await().first.ok());
}

TEST_F(ModelHostTest, DerivesWhatIsNotSet) {
  const HostOptions& derived = host_.options();
  EXPECT_GE(derived.num_threads, 1);
  EXPECT_EQ(derived.runner.num_threads, derived.num_threads);
  EXPECT_EQ(derived.dispatcher.admission.tokens_per_image, 4);
  EXPECT_EQ(derived.dispatcher.admission.max_queued_tokens, 256 * (4 + 64));
  EXPECT_EQ(derived.runner.max_sequences, derived.dispatcher.scheduler.max_running);
  HostOptions set;
  set.num_threads = 6;
  set.kv_cache_mib = 3;
  set.model_name = "other";
  set.dispatcher.admission.max_queued_tokens = 17;
  set.dispatcher.scheduler.max_running = 5;
  const ModelHost host(kDirectory, TestManifest(), set, nullptr);
  EXPECT_EQ(host.name(), "models/other");
  EXPECT_EQ(host.options().dispatcher.num_preprocess_threads,
            3 + 1);  // and that for small pictures
  EXPECT_EQ(host.options().dispatcher.admission.max_queued_tokens, 17);
  EXPECT_EQ(host.options().runner.kv_cache_bytes, 3 << 20);
  EXPECT_EQ(host.options().runner.max_sequences, 5);
}

TEST_F(ModelHostTest, DrainsToItsEnd) {
  Start();
  ASSERT_TRUE(host_.Submit(Good(), sink_).ok());
  EXPECT_TRUE(host_.Drain(Clock::Real()->Now() + std::chrono::seconds(60)));
  EXPECT_TRUE(sink_->Await().first.ok());
  EXPECT_EQ(host_.Submit(Good(), sink_).status().reason(), Reason::kServerDraining);
}

}  // namespace
}  // namespace paligemma
