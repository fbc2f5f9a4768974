defmodule Nlns.Errno do
  @moduledoc false
  # The numbers and names of errno(3): those of asm-generic/errno-base.h and errno.h, which every
  # architecture uses that OTP runs on but MIPS, SPARC, PA-RISC and Alpha.

  alias Nlns.Native

  # By number from 1 on; the gaps at 41 and 58 are second names of others (EAGAIN, EDEADLK).
  @names ~w(
    eperm enoent esrch eintr eio enxio e2big enoexec ebadf echild eagain enomem eacces efault enotblk
    ebusy eexist exdev enodev enotdir eisdir einval enfile emfile enotty etxtbsy efbig enospc espipe
    erofs emlink epipe edom erange edeadlk enametoolong enolck enosys enotempty eloop _ enomsg eidrm
    echrng el2nsync el3hlt el3rst elnrng eunatch enocsi el2hlt ebade ebadr exfull enoano ebadrqc
    ebadslt _ ebfont enostr enodata etime enosr enonet enopkg eremote enolink eadv esrmnt ecomm eproto
    emultihop edotdot ebadmsg eoverflow enotuniq ebadfd eremchg elibacc elibbad elibscn elibmax
    elibexec eilseq erestart estrpipe eusers enotsock edestaddrreq emsgsize eprototype enoprotoopt
    eprotonosupport esocktnosupport eopnotsupp epfnosupport eafnosupport eaddrinuse eaddrnotavail
    enetdown enetunreach enetreset econnaborted econnreset enobufs eisconn enotconn eshutdown
    etoomanyrefs etimedout econnrefused ehostdown ehostunreach ealready einprogress estale euclean
    enotnam enavail eisnam eremoteio edquot enomedium emediumtype ecanceled enokey ekeyexpired
    ekeyrevoked ekeyrejected eownerdead enotrecoverable erfkill ehwpoison
  )a

  @by_number for {name, number} <- Enum.with_index(@names, 1),
                 name != :_,
                 into: %{},
                 do: {number, name}
  @by_name Map.new(@by_number, fn {number, name} -> {name, number} end)

  @einval 22

  @doc """
  Returns the posix atom of a number, `:unknown` for one that has no name.

      iex> Nlns.Errno.atom(2)
      :enoent

      iex> Nlns.Errno.atom(133)
      :ehwpoison

      iex> Nlns.Errno.atom(41)
      :unknown
  """
  @spec atom(integer()) :: atom()
  def atom(number), do: Map.get(@by_number, number, :unknown)

  @doc """
  Returns the number of a posix atom; `EINVAL` for what `:socket` makes up itself (`:einval`, `:exalloc`, ...).

      iex> Nlns.Errno.number(:ehwpoison)
      133
  """
  @spec number(atom()) :: integer()
  def number(atom), do: Map.get(@by_name, atom, @einval)

  @doc """
  Returns the system's words and the errno's name, or its number where it has none.

      iex> Nlns.Errno.words(2)
      "No such file or directory (ENOENT)"
  """
  @spec words(integer()) :: String.t()
  def words(number) do
    name = if name = @by_number[number], do: name |> to_string() |> String.upcase(), else: number
    "#{strerror(number)} (#{name})"
  end

  # C's int; nothing beyond it is an errno.
  defp strerror(number) when number in -2_147_483_648..2_147_483_647, do: Native.strerror(number)
  defp strerror(number), do: "Unknown error #{number}"
end
