defmodule Nlns.VM.Terms do
  @moduledoc false
  # Random terms: of a type, or of none.

  alias Nlns.VM.Typespec

  @doc "A term of a type of `module`, with what calls gave before as its references and structs."
  def of({:atom, _, atom}, _module, _known), do: atom
  def of({:integer, _, integer}, _module, _known), do: integer
  def of({:ann_type, _, [_, type]}, module, known), do: of(type, module, known)
  def of({:type, _, :union, types}, module, known), do: of(Enum.random(types), module, known)
  def of({:type, _, :binary, _}, _module, known), do: Enum.random(known.paths)

  def of({:type, _, :map, fields}, module, known) do
    for {:type, _, :map_field_exact, [{:atom, _, key}, type]} <- fields,
        into: %{},
        do: {key, of(type, module, known)}
  end

  def of({:remote_type, _, [{:atom, _, String}, {:atom, _, :t}, []]}, _module, _known),
    do: Enum.random(["", "text", "\e[2J", "a\0b"])

  # A charlist is a list of bytes, as a deeper one is.
  def of({:type, _, :iodata, _}, _module, known) do
    path = Enum.random(known.paths)
    Enum.random([path, path, String.to_charlist(path), [path, []]])
  end

  # Of options: none, or one of those that there are.
  def of({:type, _, :list, [type]}, module, known),
    do: Enum.random([[], [of(type, module, known)]])

  def of({:type, _, :boolean, _}, _module, _known), do: Enum.random([true, false])
  def of({:type, _, :reference, _}, _module, _known), do: make_ref()

  def of({:type, _, :timeout, _}, _module, _known),
    do: Enum.random([0, 0, 0, 1, 2, 5_000, :infinity])

  def of({:type, _, :atom, _}, _, _),
    do: Enum.random([:netlink, :inet, :packet, :raw, :dgram, :udp])

  def of({:user_type, _, :resource, _}, _module, known), do: seen(known, &is_reference/1)

  def of({:type, _, kind, _}, _, known) when kind in [:integer, :non_neg_integer, :pos_integer],
    do: Enum.random([0, 0, 0, 1, 2, 3, 10, 16, 16, 17, 255 | known.fds])

  def of({:type, _, :tuple, types}, module, known) when is_list(types),
    do: types |> Enum.map(&of(&1, module, known)) |> List.to_tuple()

  def of({:remote_type, _, [{:atom, _, struct}, {:atom, _, :t}, []]}, _, known)
      when struct in [Nlns.Request, Nlns.Handle],
      do: seen(known, &is_struct(&1, struct))

  def of({:remote_type, _, [{:atom, _, module}, {:atom, _, name}, args]}, _, known),
    do: of(Typespec.definition(module, name, args), module, known)

  def of({:user_type, _, :t, []}, module, known), do: seen(known, &is_struct(&1, module))

  def of({:user_type, _, name, args}, module, known),
    do: of(Typespec.definition(module, name, args), module, known)

  defp seen(known, wanted?) do
    case Enum.filter(known.seen, wanted?) do
      [] -> term(1)
      seen -> Enum.random(seen)
    end
  end

  @doc "A random term of at most `depth` levels."
  def term(depth) do
    case :rand.uniform(if depth > 0, do: 24, else: 17) do
      n when n <= 4 ->
        integer()

      5 ->
        :rand.normal() * 1.0e30

      n when n <= 7 ->
        Enum.random([nil, true, :ok, :infinity, :inet, :stream, :"", :error, :unix])

      n when n <= 10 ->
        :rand.bytes(Enum.random([0, 1, 5, 64, 65, 255, 4095, 4096, 70_000]))

      11 ->
        <<:rand.bytes(3)::binary, 1::size(3)>>

      12 ->
        Enum.random([self(), spawn(fn -> :ok end), hd(:erlang.ports())])

      13 ->
        make_ref()

      # References that are resources, of others.
      14 ->
        Enum.random([:atomics.new(1, []), :ets.new(:fuzz, [])])

      15 ->
        Enum.random([&term/1, fn -> depth end])

      16 ->
        %Nlns.Handle{resource: term(0)}

      17 ->
        %Nlns.Request{ref: make_ref(), owner: self(), resource: term(0)}

      18 ->
        for _ <- 1..:rand.uniform(3), do: term(depth - 1)

      19 ->
        [term(depth - 1) | term(depth - 1)]

      20 ->
        {Enum.random([:open, :setns, :socket, :thread]), term(depth - 1)}

      21 ->
        {Enum.random([:pid, :name]), term(depth - 1)}

      22 ->
        List.to_tuple(for _ <- 1..:rand.uniform(5), do: term(depth - 1))

      23 ->
        %{term(depth - 1) => term(depth - 1)}

      24 ->
        Enum.to_list(1..:rand.uniform(1_000))
    end
  end

  # Around everything that an integer of C may be too small for.
  defp integer do
    near = Enum.random([0, 8, 15, 16, 31, 32, 63, 64, 128])
    sign = Enum.random([1, -1])
    sign * (Bitwise.bsl(1, near) + :rand.uniform(5) - 3)
  end
end
