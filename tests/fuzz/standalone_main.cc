// Replays files through a fuzz target, and each of them with single bytes changed and cut short:
// for compilers without libFuzzer. Arguments are files or directories.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

void replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const Input whole{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(whole.data(), whole.size());
  std::mt19937 random(1);
  for (int round = 0; round < 300 && !whole.empty(); ++round) {
    Input changed = whole;
    changed[random() % changed.size()] ^= static_cast<std::uint8_t>(1u << random() % 8);
    if (round % 3 == 0) changed.resize(random() % changed.size());
    LLVMFuzzerTestOneInput(changed.data(), changed.size());
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (!std::filesystem::is_directory(path)) {
      replay(path);
      ++files;
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (!entry.is_regular_file()) continue;
      replay(entry.path());
      ++files;
    }
  }
  std::printf("%zu inputs replayed\n", files);
  return files == 0 ? 1 : 0;
}
