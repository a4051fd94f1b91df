// The C++ library's side of the bench: one message there, one message back, as its own examples do it.

#include "igtlImageMessage.h"
#include "igtlMessageHeader.h"
#include "igtlTransformMessage.h"

#include <cstring>

static igtl::TransformMessage::Pointer transform_out, transform_in;
static igtl::ImageMessage::Pointer image_out, image_in;
static igtl::MessageHeader::Pointer header;

extern "C" void cpp_begin() {
  transform_out = igtl::TransformMessage::New();
  transform_out->SetDeviceName("StylusTipToReferenc");
  transform_in = igtl::TransformMessage::New();
  image_out = igtl::ImageMessage::New();
  image_out->SetDeviceName("Microscope");
  image_out->SetDimensions(640, 480, 1);
  image_out->SetScalarTypeToUint8();
  image_out->AllocateScalars();
  image_in = igtl::ImageMessage::New();
  header = igtl::MessageHeader::New();
}

extern "C" std::size_t cpp_transform_encode(float x, unsigned char *to) {
  igtl::Matrix4x4 matrix;
  igtl::IdentityMatrix(matrix);
  matrix[0][3] = x;
  transform_out->SetMatrix(matrix);
  transform_out->Pack();
  std::memcpy(to, transform_out->GetPackPointer(), transform_out->GetPackSize());
  return transform_out->GetPackSize();
}

static bool begin(igtl::MessageBase *message, const unsigned char *from, int check) {
  header->InitPack();
  std::memcpy(header->GetPackPointer(), from, header->GetPackSize());
  header->Unpack();
  message->SetMessageHeader(header);
  message->AllocatePack();
  std::memcpy(message->GetPackBodyPointer(), from + header->GetPackSize(), message->GetPackBodySize());
  return message->Unpack(check) & igtl::MessageHeader::UNPACK_BODY;
}

extern "C" float cpp_transform_decode(const unsigned char *from) {
  if (!begin(transform_in, from, 1)) return -1;
  igtl::Matrix4x4 matrix;
  transform_in->GetMatrix(matrix);
  return matrix[0][3];
}

extern "C" std::size_t cpp_image_encode(const unsigned char *pixels, unsigned char *to) {
  std::memcpy(image_out->GetScalarPointer(), pixels, image_out->GetImageSize());
  image_out->Pack();
  std::memcpy(to, image_out->GetPackPointer(), image_out->GetPackSize());
  return image_out->GetPackSize();
}

extern "C" int cpp_image_decode(const unsigned char *from, int check) {
  return begin(image_in, from, check) ? static_cast<unsigned char *>(image_in->GetScalarPointer())[7] : -1;
}
