// SPDX-License-Identifier: Apache-2.0
#include "core/base/cgroup.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace paligemma {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() {
    std::string name = ::testing::TempDir() + "/cgroup-XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  CgroupLimits Read() const { return ReadCgroupLimits(root_); }

  std::string root_;
};

TEST_F(CgroupTest, WithoutFilesThereIsNoLimit) {
  EXPECT_EQ(GrantedCpus(Read(), 8), 8);
  EXPECT_EQ(Read().memory_left, kNoLimit);
}

TEST_F(CgroupTest, Version2HoldsTheTightestOfItsGroupAndThoseAround) {
  Write("proc/self/cgroup", "0::/pod/main\n");
  Write("sys/fs/cgroup/pod/main/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
  Write("sys/fs/cgroup/pod/main/memory.max", "1000\n");
  Write("sys/fs/cgroup/pod/main/memory.current", "700\n");
  Write("sys/fs/cgroup/pod/main/memory.stat", "anon 400\ninactive_file 200\n");
  Write("sys/fs/cgroup/pod/memory.max", "max\n");
  Write("sys/fs/cgroup/pod/memory.current", "900\n");
  EXPECT_EQ(Read().cpus, 2.5);
  EXPECT_EQ(Read().memory_left, 500);
}

TEST_F(CgroupTest, Version2OfAContainerLiesAtTheMount) {
  Write("proc/self/cgroup", "0::/../of/the/host\n");
  Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  Write("sys/fs/cgroup/memory.max", "800\n");
  Write("sys/fs/cgroup/memory.current", "900\n");
  EXPECT_EQ(Read().cpus, 1.5);
  EXPECT_EQ(Read().memory_left, 0);
}

TEST_F(CgroupTest, Version1) {
  Write("proc/self/cgroup", "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n1:name=systemd:/\n");
  Write("sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us", "300000\n");
  Write("sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "4000\n");
  Write("sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes", "3000\n");
  Write("sys/fs/cgroup/memory/docker/a/memory.stat", "total_inactive_file 500\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
  EXPECT_EQ(Read().cpus, 3);
  EXPECT_EQ(Read().memory_left, 1500);
}

TEST_F(CgroupTest, FilesThatMakeNoSenseAreNoLimit) {
  Write("proc/self/cgroup", "nonsense\n0:\n0::relative\n0::/\n");
  Write("sys/fs/cgroup/cpu.max", "many 0\n");
  Write("sys/fs/cgroup/memory.max", "\n");
  EXPECT_EQ(GrantedCpus(Read(), 3), 3);
  EXPECT_EQ(Read().memory_left, kNoLimit);
}

TEST_F(CgroupTest, AFractionOfACpuGivesWholeThreads) {
  for (const auto& [cpus, threads] :
       {std::pair{0.1, 1}, {0.5, 1}, {1.4, 1}, {1.5, 2}, {2.5, 3}, {64., 8}}) {
    CgroupLimits limits;
    limits.cpus = cpus;
    EXPECT_EQ(GrantedCpus(limits, 8), threads) << cpus;
  }
  EXPECT_EQ(GrantedCpus({}, 0), 1) << "a machine that does not tell its CPUs";
}

}  // namespace
}  // namespace paligemma
